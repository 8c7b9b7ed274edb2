/*
 * Creating partitions before the rows that need them, in short transactions on another connection
 * with a lock timeout. Our own rows may hold the lock that one waits for (PARTITION OF takes
 * AccessExclusive on the parent, a COPY into a partition holds AccessShare): then the batch is
 * rolled back, the rest of it is read only for its partitions, and the batch starts over. After a
 * kill between the two transactions a partition exists without rows, and the next attempt finds it.
 */
#include "parts.h"

#define DDL_TRIES 30                    /* attempts to get the lock before the batch is given up */
#define CREATOR_TRIES 4                 /* the same, where another process creates partitions */
#define DDL_PAUSE_MS 500                /* between two attempts to create a partition */
#define OWN_LOCK_TIMEOUT_MS 100         /* when the lock in the way is probably our own */
#define TOGETHER_MAX 16                 /* in one transaction, as readers may wait for its locks */

/* Creates the first n in one transaction. Those that exist then are reported and known, whatever
 * became of the others. */
static int make_some(struct place *at, struct job *j, size_t n, int lock_timeout_ms,
	int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	size_t which;

	int rc = creation_run(j->ddl, at->dest, k->want.at, n, lock_timeout_ms, &which, e);
	for (size_t i = 0; i < n; i++)
		if (k->want.at[i].made && k->want.at[i].there)
			watch_partition(j->watch, span_of(k->want.at[i].name), false);
	if (rc < 0 && (n == 1 || rc != ERR_DATA))
		missing_blame(k, which, event, e);
	missing_sort_out(at, &k->want);
	return e->code;
}

/* How many are created together. */
static size_t together(const struct parts *k)
{
	if (k->alone)
		return 1;
	return k->want.n < TOGETHER_MAX ? k->want.n : TOGETHER_MAX;
}

/* Creates all that are wanted. Where several fail together, one of them may be at fault, or the one
 * transaction: they are created one by one. */
static int make(struct place *at, struct job *j, int lock_timeout_ms, int64_t *event,
	struct err *e)
{
	struct parts *k = at->parts;

	while (k->want.n && !e->code) {
		size_t n = together(k);
		if (make_some(at, j, n, lock_timeout_ms, event, e) == 0 || n == 1 ||
		    sqlstate_is_lost(e) || missing_waits(e))
			continue;
		log_debug("new partitions are rolled back and created one by one: %s", e->msg);
		*e = (struct err){ 0 };
		*event = -1;
		k->alone = true;
	}
	return e->code;
}

/* After attempt number `tries` failed with e. true: try again; e is cleared. *warned: e was logged
 * as a warning. */
static bool pause_to_try_again(struct job *j, int tries, bool *warned, struct err *e)
{
	bool creator = e->code == ERR_CONFLICT;

	if (tries >= (creator ? CREATOR_TRIES : DDL_TRIES))
		return false;
	(creator || *warned ? log_debug : log_warn)("%s; trying again", e->msg);
	*warned |= !creator;
	watch_alive(j->watch);
	process_sleep(DDL_PAUSE_MS);
	if (process_stop_now() || (creator && process_stop_after_batch()))
		return false;
	*e = (struct err){ 0 };
	return true;
}

int outside_create(struct place *at, struct job *j, bool sent, int64_t *event, struct err *e)
{
	struct parts *k = at->parts;
	int timeout_ms = sent ? OWN_LOCK_TIMEOUT_MS : DDL_LOCK_TIMEOUT_MS;
	bool warned = false;

	if (!k->want.n)
		return 0;
	for (int tries = 1;; tries++) {
		if (style_open(&j->ddl, j->conf, &j->style, e) < 0 ||
		    missing_ask(at, j->ddl, event, e) < 0)
			return e->code;
		if (make(at, j, timeout_ms, event, e) == 0 || !missing_waits(e))
			return e->code;
		if (sent) {
			log_debug("creating a partition waits for this batch's own rows:"
				" all partitions are created first");
			*e = (struct err){ 0 };
			return 1;
		}
		if (!pause_to_try_again(j, tries, &warned, e))
			return e->code;
		*event = -1;
	}
}
