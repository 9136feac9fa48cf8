/* The gate: ticks and pushes on channels that do not wait for one
 * another, reads held back by min(done), and one worker that dies and comes
 * back.  What is abstracted: README.md of this folder.
 *
 *   spin -a -DSTALENESS=1 -DCLOCKS=3 -DPOLICY=1 ssp.pml && cc -DSAFETY pan.c
 *
 * POLICY 0: nobody dies.  1: `wait`: the dead worker comes back at the minimum
 * of its own done and no clock closes without it.  2: `continue`: an order
 * removes it, a second one takes it in again.
 *
 * BROKEN n leaves out one rule, so that the checker must object:
 *   1 a tick counts without the pushes it covers
 *   2 a part that comes again is counted again
 *   3 an accepted order does not hold back the clocks it is about
 *   4 the gate lets a reader in one clock early
 *   5 the worker comes back at the maximum of its own done
 *   6 an order is committed whatever the second shard answered
 */
#ifndef STALENESS
#define STALENESS 1
#endif
#ifndef CLOCKS
#define CLOCKS 3
#endif
#ifndef POLICY
#define POLICY 0
#endif
#ifndef BROKEN
#define BROKEN 0
#endif

#define P 3
#define K 2
#define VICTIM 2          /* the workers are alike: the last one dies */
#define NEVER 15

#define PAIR(w, k) ((w) * K + (k))
#define HAS(mask, clock) (((mask) >> (clock)) & 1)

/* Workers.  `clock` = the clock that a worker is in; its pushes and ticks of
 * the clocks before it have been sent. */
byte clock[P];
bool alive = true;        /* the victim */
bool returned = false;
bool left = false;        /* dead for good */

byte skewed;              /* whose ticks and pushes arrive apart: 0 or VICTIM */

/* Channels, one of each kind for (worker, shard).  Messages of one channel keep
 * their order, the channels know nothing of one another: next_push and
 * next_tick are the clocks whose message arrives next. */
byte next_push[P * K];
byte next_tick[P * K];

/* Shards. */
byte parts[P * K];        /* mask of clocks whose part is counted */
byte ticked[P * K];       /* ticks of clocks 0..ticked-1 are in */
byte done[P * K];         /* committed clocks */
byte version[K];          /* clocks 0..version-1 are closed */
bool gone[K];             /* the victim was declared dead here */
byte pending[K];          /* first clock of an order not yet committed */
byte out_from[K];         /* order: no contributor from here on ... */
byte in_from[K];          /* ... until here */
byte with_victim[K];      /* ghost: mask of clocks closed with its part */

#define Fenced(w, k) ((w) == VICTIM && gone[k] && in_from[k] == NEVER)
#define Required(w, k, v) ((w) != VICTIM || !gone[k] || (v) >= in_from[k])

#if BROKEN == 3
#define MayClose(k, v) true
#else
#define MayClose(k, v) ((v) < pending[k])
#endif

#define In(w, k, v) (done[PAIR(w, k)] > (v) || !Required(w, k, v))
#define AllIn(k) \
  (version[k] < CLOCKS && MayClose(k, version[k]) && In(0, k, version[k]) && \
   In(1, k, version[k]) && In(2, k, version[k]))

#if BROKEN == 4
#define Readable(k, c) (version[k] + STALENESS + 1 >= (c))
#else
#define Readable(k, c) (version[k] + STALENESS >= (c))
#endif

/* A required worker's tick and part are really in when its clock closes. */
#define Contributes(w, k, v) \
  (!Required(w, k, v) || \
   (HAS(parts[PAIR(w, k)], v) && ticked[PAIR(w, k)] > (v)))

inline Close(k) {
  do
  :: AllIn(k) ->
     assert(Contributes(0, k, version[k]));
     assert(Contributes(1, k, version[k]));
     assert(Contributes(2, k, version[k]));
     if
     :: HAS(parts[PAIR(VICTIM, k)], version[k]) ->
        with_victim[k] = with_victim[k] | (1 << version[k])
     :: else
     fi;
     /* Who contributes from the order's clock on, both shards agree. */
     assert(version[k] < out_from[k] || version[k] >= version[1 - k] ||
            HAS(with_victim[0], version[k]) == HAS(with_victim[1], version[k]));
     version[k] = version[k] + 1
  :: else -> break
  od
}

inline AdvanceDone(i) {
  do
#if BROKEN == 1
  :: ticked[i] > done[i] -> done[i] = done[i] + 1
#else
  :: ticked[i] > done[i] && HAS(parts[i], done[i]) -> done[i] = done[i] + 1
#endif
  :: else -> break
  od
}

inline TakePush(w, k) {
  i = PAIR(w, k);
  v = next_push[i];
  next_push[i] = v + 1;
  if
  :: Fenced(w, k)
#if BROKEN != 2
  :: !Fenced(w, k) && HAS(parts[i], v)           /* a duplicate */
#endif
  :: else ->
     assert(!HAS(parts[i], v));                  /* a part counts once */
     assert(v >= version[k]);                    /* and before its clock closes */
     parts[i] = parts[i] | (1 << v);
     AdvanceDone(i);
     Close(k)
  fi;
  i = 0; v = 0
}

inline TakeTick(w, k) {
  i = PAIR(w, k);
  v = next_tick[i];
  next_tick[i] = v + 1;
  if
  :: Fenced(w, k) || v < ticked[i]               /* or a duplicate */
  :: else ->
     ticked[i] = v + 1;
     AdvanceDone(i);
     Close(k)
  fi;
  i = 0; v = 0
}

#define Push(w, k) (next_push[PAIR(w, k)] < clock[w])
#define Tick(w, k) (next_tick[PAIR(w, k)] < clock[w])
#define Both(w, k) (skewed != (w) && Push(w, k))

proctype Shard(byte k) {
  byte i, v;
end:
  do
  :: d_step { skewed == 0 && Push(0, k) -> TakePush(0, k) }
  :: d_step { skewed == 0 && Tick(0, k) -> TakeTick(0, k) }
  :: d_step { skewed == VICTIM && Push(VICTIM, k) -> TakePush(VICTIM, k) }
  :: d_step { skewed == VICTIM && Tick(VICTIM, k) -> TakeTick(VICTIM, k) }
  :: d_step { Both(0, k) -> TakePush(0, k); TakeTick(0, k) }
  :: d_step { Both(1, k) -> TakePush(1, k); TakeTick(1, k) }
  :: d_step { Both(2, k) -> TakePush(2, k); TakeTick(2, k) }
  od
}

/* c - s <= version; and version <= c, but for one who came back and recomputes
 * clocks that a shard has closed already: it reads retained versions. */
#define CheckRead(k, c, slack) \
  assert(version[k] + STALENESS >= (c)); assert(version[k] <= (c) + (slack))

#define Slack(w) ((w) == VICTIM && returned -> STALENESS + 1 : 0)
#define Runs(w) ((w) != VICTIM || alive)

/* Reads, computes and sends in one step: a gate once open stays open, and what
 * has been sent may still arrive at any time. */
proctype Worker(byte w) {
  do
  :: d_step {
       Runs(w) && clock[w] < CLOCKS && Readable(0, clock[w]) &&
           Readable(1, clock[w]) ->
         CheckRead(0, clock[w], Slack(w));
         CheckRead(1, clock[w], Slack(w));
         clock[w] = clock[w] + 1
     }
  :: d_step {
       Runs(w) && clock[w] >= CLOCKS && Readable(0, CLOCKS) &&
           Readable(1, CLOCKS) ->
         CheckRead(0, CLOCKS, 0);
         CheckRead(1, CLOCKS, 0)
     };
     break
  :: w == VICTIM && left -> break
  od
}

#if POLICY > 0
inline Fence(k) {         /* what the old incarnation has under way is lost */
  next_push[PAIR(VICTIM, k)] = clock[VICTIM];
  next_tick[PAIR(VICTIM, k)] = clock[VICTIM]
}

inline Return(at) {
  d_step {
    clock[VICTIM] = at;
    next_push[PAIR(VICTIM, 0)] = at;
    next_push[PAIR(VICTIM, 1)] = at;
    next_tick[PAIR(VICTIM, 0)] = at;
    next_tick[PAIR(VICTIM, 1)] = at;
    returned = true;
    alive = true
  }
}
#endif

#if POLICY == 1
proctype Coordinator() {
  byte at, k;
  /* Dies at some time, or never. */
  if
  :: d_step { clock[VICTIM] < CLOCKS -> alive = false }
  :: true -> goto end_well
  fi;
#if BROKEN != 5
  at = NEVER;
#endif
  do
  :: k < K ->
     d_step {
       Fence(k);
#if BROKEN == 5
       at = (done[PAIR(VICTIM, k)] > at -> done[PAIR(VICTIM, k)] : at);
#else
       at = (done[PAIR(VICTIM, k)] < at -> done[PAIR(VICTIM, k)] : at);
#endif
       k = k + 1
     }
  :: else -> break
  od;
  Return(at);
end_well:
  skip
}
#endif

#if POLICY == 2
/* The highest clock that a shard has opened: closed before it, or a part. */
#define Seen(k, v) \
  (HAS(parts[PAIR(0, k)], v) || HAS(parts[PAIR(1, k)], v) || \
   HAS(parts[PAIR(2, k)], v))
inline Opened(k, to) {
  to = CLOCKS;
  do
  :: to > version[k] && !Seen(k, to) -> to = to - 1
  :: else -> break
  od
}

/* Everyone accepts before anyone is told.  A refused order voids what an
 * earlier shard accepted, when it is proposed again. */
inline Propose() {
  k = 0;
  do
  :: k < K ->
     d_step {
       Opened(k, opened);
       if
       :: opened < order -> pending[k] = order; k = k + 1
#if BROKEN == 6
       :: opened >= order && k == 1 -> k = k + 1
       :: opened >= order && k == 0 -> order = opened + 1
#else
       :: else -> order = opened + 1; k = 0
#endif
       fi;
       opened = 0
     }
  :: else -> break
  od;
  k = 0
}

proctype Coordinator() {
  byte order = 1, opened, k;
  if
  :: d_step { clock[VICTIM] < CLOCKS -> alive = false }
  :: true -> goto end_well
  fi;
  do                      /* its lease ends: one shard hears before the other */
  :: k < K -> d_step { Fence(k); gone[k] = true; Close(k); k = k + 1 }
  :: else -> break
  od;
  Propose();
  do
  :: k < K ->
     d_step {
       assert(order >= version[k]);   /* no clock it is about has closed */
       out_from[k] = order; pending[k] = NEVER; Close(k); k = k + 1
     }
  :: else -> break
  od;
  if                      /* comes back, or never */
  :: true
  :: left = true; goto end_well
  fi;
  order = order + 1;
  Propose();
  do
  :: k < K ->
     d_step {
       in_from[k] = order;
       pending[k] = NEVER;
       ticked[PAIR(VICTIM, k)] = order;
       done[PAIR(VICTIM, k)] = order;
       Close(k);
       k = k + 1
     }
  :: else -> break
  od;
  if
  :: order < CLOCKS -> Return(order)
  :: else -> left = true  /* the job ends before its first clock */
  fi;
end_well:
  skip
}
#endif

init {
  atomic {
    pending[0] = NEVER; pending[1] = NEVER;
    out_from[0] = NEVER; out_from[1] = NEVER;
    in_from[0] = NEVER; in_from[1] = NEVER;
    if
    :: skewed = 0
    :: skewed = VICTIM
    fi;
    run Worker(0); run Worker(1); run Worker(2);
    run Shard(0); run Shard(1);
#if POLICY > 0
    run Coordinator();
#endif
  }
}
