"""Kill, stop and confuse a real OMServer, and compare afterwards what it said with what happened.

    python -m campaign                  faults at random moments for ten minutes
    python -m campaign sweep            die at every failpoint, with every kind of work
    python -m campaign controls         break OMServer on purpose: the campaign must notice each time

The hosts are invented (``simfleet``), in a process that nobody kills; what they were really told stands in
their ledger. docs/reliability.md says what is promised and what was measured.
"""
