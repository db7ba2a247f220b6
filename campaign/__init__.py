"""Kill, stop and confuse a real OMServer, and compare afterwards what it said with what happened.

    python -m campaign                  faults at random moments for ten minutes
    python -m campaign kills            each kind of process dies in each phase of a job's life
    python -m campaign sweep            die at every failpoint, with every kind of work
    python -m campaign controls         break OMServer on purpose: the campaign must notice each time
    python -m campaign takeovers        how long a dead worker's jobs have none, at full pace
    python -m campaign cancels          how long a cancelled process lives, on real hosts of every engine

But for the last, and where a Salt master is killed, the hosts are invented (``sim``), in a process that
nobody kills; what they were really told stands in their ledger. docs/reliability.md says what is promised and
what was measured.
"""
