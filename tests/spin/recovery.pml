/* recovery.pml: membership and commit of a run that loses ranks, for spin: every order of events.
 *
 * RANKS ranks make steps together. Each step ends with a copy of the state in memory: first a rank's
 * own file, then the guest file that it keeps for its neighbour, of two that take turns; a file that is
 * being written is torn. Parts of a checkpoint are written at any speed beside that; rank 0 commits it
 * when it has heard of this attempt's parts from all. At any moment
 *     a rank may die, or its whole node with the files in its memory;
 *     a rank may stand still, be left behind, and go on later as if nothing had been.
 * The launcher, which counts what has the attempt's number only, then starts the next attempt: it goes
 * on from the newest step of which every rank's file is whole somewhere, or from the newest checkpoint.
 *
 * What must hold:
 *     copies      after the loss of one node the run goes on from the last copy that all ranks of the
 *                 attempt have ended; before the first of them, what the node before has taken along
 *                 may be missing
 *     checkpoint  what is committed has the part of every rank, all of its step
 *     same step   all ranks of an attempt go on from one step
 *     left behind a rank of an old attempt changes nothing that the new one counts
 *
 * Run by tests/system/test_spin.sh; the code is train_copy.c, train_save.c, cluster_supervise.c. */

#define RANKS    2 /* a rank has to do with its neighbour and with rank 0: here each is the other's */
#define STEPS    3
#define ATTEMPTS 2
#define TORN     15
#define NONE     14

byte own[RANKS * 2];    /* [rank * 2 + slot] step in this file */
byte guest[RANKS * 2];  /* the same, kept by the rank's neighbour */
byte copied[RANKS];     /* newest step whose copy this rank has ended, or goes on from */
byte ended[RANKS];      /* the same, of this attempt's own copies; 0: none yet */
byte at[RANKS];         /* steps that this rank has done */
/* Of each attempt, since each has a folder of its own for what is not committed yet: */
byte part[(ATTEMPTS + 1) * RANKS]; /* step of the part that is whole on disk */
bool told[(ATTEMPTS + 1) * RANKS]; /* its rank 0 was told of that part */
byte committed = 0;     /* newest checkpoint */
byte attempt = 0;
bool running = false;   /* the launcher has found no loss yet */

/* Rank r of attempt a. What it does to shared things it does only while it is of this attempt, or
 * where it stood still in between, as a process that was left behind. */
proctype rank(byte r; byte a) {
    byte step = at[r];
    do
    :: a == attempt && running && step < STEPS ->
        /* A step needs all ranks: none begins the next before all have ended this one's copy. */
        (at[(r + 1) % RANKS] >= step && copied[(r + 1) % RANKS] >= step) || a != attempt || !running;
        if
        :: a != attempt || !running -> break
        :: else -> skip
        fi;
        step++;
        atomic { if :: a == attempt && running -> at[r] = step :: else -> break fi };
        /* own file, in two writes: a loss may come between them */
        atomic { if :: a == attempt && running -> own[r * 2 + step % 2] = TORN :: else -> break fi };
        atomic { if :: a == attempt && running -> own[r * 2 + step % 2] = step :: else -> break fi };
        /* the exchange: the guest file is the copy of a whole one */
        atomic { if :: a == attempt && running -> guest[r * 2 + step % 2] = TORN :: else -> break fi };
        atomic {
            if
            :: a == attempt && running ->
                guest[r * 2 + step % 2] = step;
                copied[r] = step;
                ended[r] = step
            :: else -> break
            fi
        };
        /* a part of the checkpoint of this step, where one is due */
        if
        :: step % 2 == 0 ->
            part[a * RANKS + r] = TORN;
            /* here it may stand still for long; what it then does, it does in its old folder */
            part[a * RANKS + r] = step;
            told[a * RANKS + r] = true;
            if
            :: r == 0 ->
                (told[a * RANKS] && told[a * RANKS + 1]) || a != attempt || !running;
                atomic {
                    if
                    :: told[a * RANKS] && told[a * RANKS + 1] ->
                        /* the manifest names what is whole, and of this step */
                        assert(part[a * RANKS] == step && part[a * RANKS + 1] == step);
                        if :: committed < step -> committed = step :: else -> skip fi;
                        told[a * RANKS] = false;
                        told[a * RANKS + 1] = false
                    :: else -> break
                    fi
                }
            :: else ->
                /* agreed on with rank 0 before the next step */
                (committed >= step && !told[a * RANKS + 1]) || a != attempt || !running
            fi
        :: else -> skip
        fi
    :: else -> break
    od
}

/* A file of rank r of that step is whole with somebody. */
#define HELD(r, s) (own[(r) * 2] == (s) || own[(r) * 2 + 1] == (s) || guest[(r) * 2] == (s) || guest[(r) * 2 + 1] == (s))

active proctype launcher() {
    byte from, s, least;
    byte i;
    for (i : 0 .. RANKS * 2 - 1) {
        own[i] = NONE;
        guest[i] = NONE
    }
    do
    :: attempt < ATTEMPTS ->
        atomic {
            /* how far a copy has been ended by all, for the claim below */
            least = ended[0];
            if :: ended[1] < least -> least = ended[1] :: else -> skip fi;
            /* the newest step that is whole for every rank, or the newest checkpoint */
            from = committed;
            for (s : 1 .. STEPS) {
                if
                :: s > from && HELD(0, s) && HELD(1, s) -> from = s
                :: else -> skip
                fi
            }
            assert(from >= committed);
            assert(from >= least);
            attempt++;
            at[0] = from;
            at[1] = from;
            copied[0] = from;
            copied[1] = from;
            ended[0] = 0;
            ended[1] = 0;
            running = true;
            run rank(0, attempt);
            run rank(1, attempt)
        };
        /* a loss, at any moment; or the end */
        if
        :: atomic { at[0] == STEPS && at[1] == STEPS && copied[0] == STEPS && copied[1] == STEPS &&
                    committed == STEPS -> break }
        :: atomic { running = false } /* a process: its files stay */
        :: atomic {
            running = false;
            /* node 0: rank 0's own files, and those that it keeps for rank 1 */
            own[0] = NONE; own[1] = NONE; guest[2] = NONE; guest[3] = NONE
           }
        :: atomic {
            running = false;
            own[2] = NONE; own[3] = NONE; guest[0] = NONE; guest[1] = NONE
           }
        fi
    :: else -> break
    od
}
