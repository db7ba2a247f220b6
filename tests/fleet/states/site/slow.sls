slow:
  cmd.run:
    - name: sleep 4714
