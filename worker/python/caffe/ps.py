"""The parameter service from Python: SSP tables, and workers of a job.

Tables (psctl submit --tables counts:5x3 --workers 2 --staleness 1 --launch none):

    with caffe.ps.join("127.0.0.1:7070", "job-1", token) as tables:
        counts = tables.table("counts")
        while tables.now < clocks:      # from a checkpoint's clock, or from 0
            row = counts.get(0)         # every increment of clocks < clock - s
            counts.inc(0, row_delta)    # seen by others after the clock
            tables.clock()

Nets (psctl submit --solver S --workers 2 --launch none): `solver` gives the solver
of one worker, whose net may hold Python layers; solve() trains to the job's end.
"""
import numpy as np

from ._caffe import Solver, TableSession


class Table:
    """One table: rows of float32, read within the staleness bound."""

    def __init__(self, session, name):
        self._session = session
        self._table = session._find(name)
        self.name = name
        self.rows = session._rows(self._table)
        self.width = session._width(self._table)
        self.staleness = session._staleness(self._table)

    def get(self, row):
        """A copy of a row, or of several (an array of indexes: one row each), that
        this clock may read: all increments of clocks < clock - staleness, and all
        of one's own. Waits while there is none."""
        values = self._session._get(self._table, np.atleast_1d(row))
        return values[0] if np.ndim(row) == 0 else values

    def get_async(self, rows):
        """Asks for rows that a get will want, and does not wait."""
        self._session._get_async(self._table, np.atleast_1d(rows))

    def inc(self, row, delta):
        """Adds to a row (an array of its width, or one number for all), or to
        several (an array of indexes and one row of deltas each)."""
        rows = np.atleast_1d(row)
        delta = np.asarray(delta, np.float32)
        if delta.ndim == 0:
            delta = np.full((len(rows), self.width), delta)
        self._session._inc(self._table, rows, delta)

    batch_inc = inc

    def clock(self):
        """Ends the clock, of all the session's tables."""
        self._session.clock()

    Get, GetAsync, Inc, BatchInc, Clock = get, get_async, inc, inc, clock  # the papers' words


def _enter(self):
    return self


def _exit(self, kind, error, traceback):
    if kind is None:
        self.finish()


TableSession.table = lambda self, name: Table(self, name)
TableSession.table.__doc__ = "The table of that name."
TableSession.__enter__ = _enter
TableSession.__exit__ = _exit


def join(coordinator, job, token="", rank=-1, timeout=300.0, eager=False,
         cache_bytes=256 << 20):
    """Joins a job of tables as one of its workers. `rank` -1: the coordinator
    gives one; `timeout`: seconds that a get waits before it gives up; `eager`:
    what a clock has read is asked for again when it ends, so that fresh rows
    come while the program computes; `cache_bytes`: of cached rows, a table."""
    return TableSession(coordinator, job, token, rank, timeout, eager, cache_bytes)


def solver(coordinator, job, token="", rank=-1):
    """The solver of one worker of a job that trains a net."""
    return Solver.join(coordinator, job, token, rank)
