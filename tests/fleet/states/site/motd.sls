# A file whose text a StateModule's parameters make.
{% set given = pillar.get('om', {}) %}
site_motd:
  file.managed:
    - name: /etc/om-motd
    - contents: {{ given.get('text', 'Welcome.') | json }}
    - mode: "{{ given.get('mode', '0644') }}"

site_mark:
  test.succeed_without_changes:
    - name: {{ grains['id'] }}
