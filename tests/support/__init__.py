"""What several tests share. Nobody imports from a test module, nor from the ``__main__`` of another tool."""

from pathlib import Path

#: The repository.
ROOT = Path(__file__).parents[2]
