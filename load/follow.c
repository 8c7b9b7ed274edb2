/*
 * After a copy of a table that goes on with a queue: the consumer was registered before the copy's
 * snapshot was taken, so events of rows that the copy saw are in the queue as well. They are passed
 * over, by the snapshot's text, which stands beside the marks until no batch can have any. Then the
 * mark says that all this was, for a run that is told to copy the table again.
 */
#include "private.h"

/* The look is done once a connection; and while the target knows no position, before each batch:
 * a copy may have begun since. */
static int look(struct job *j, struct err *e)
{
	if ((j->looked && j->stored_lanes) || mark_see(j->dst[0], j->conf, &j->seen, e) < 0)
		return e->code;
	j->looked = true;
	return 0;
}

static int forget(struct job *j, struct err *e)
{
	mark_seen_clear(&j->seen);
	j->seen.state = MARK_BEHIND;
	log_info("all that the copy saw is behind");
	return pq_query(j->dst[0], "BEGIN", e) < 0 ? e->code :
		mark_tell(j->dst[0], j->conf, &j->seen, e);
}

/* Can no batch have events that a copy saw? */
static bool is_over(const struct job *j)
{
	return j->seen.state == MARK_NONE || j->seen.state == MARK_BEHIND;
}

bool follow_asks(const struct job *j)
{
	return !j->looked || !j->stored_lanes || !is_over(j);
}

int follow_copy(struct job *j, struct queue_batch *b, struct err *e)
{
	bool past;

	if (look(j, e) < 0 || is_over(j))
		return e->code;
	if (j->seen.state == MARK_COPYING)
		return err_set(e, ERR_OTHER, "the copy of a table that comes before queue %s is"
			" not complete: let --from end first, or give it up by --reset",
			j->conf->queue_name);
	if (mark_pass_over(j->src, j->conf, &j->seen, b, &past, e) < 0 || !past)
		return e->code;
	return forget(j, e);
}
