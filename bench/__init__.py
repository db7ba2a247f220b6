"""Side by side with what others do: ``python -m bench P1``; the figures stand in docs/performance.md."""
