"""Reaches hosts through Ansible: its runner, its inventories, its playbooks."""
