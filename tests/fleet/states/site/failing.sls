fine:
  test.succeed_without_changes

not_fine:
  cmd.run:
    - name: echo to be seen; exit 3
