/*
 * The job's connections to both servers, and what is asked once when they are new.
 *
 * The lanes: connections that load a batch side by side, their transactions and positions.
 *
 * A partition belongs to one lane, by a hash of its name: the name as a decimal number, letters and
 * all, so that days which follow each other are spread evenly, however few. Each lane loads and
 * commits its rows with its own tick: lane 0 under the consumer's name, lane k of n under a
 * subconsumer's. All have their rows in before the first commits, and lane 0 commits last. So lane
 * 0's tick is the consumer's position as any PgQ consumer keeps it, and after a kill between two
 * commits the other lanes' ticks tell which of them have the batch: these are passed over when it
 * comes again.
 *
 * How many lanes there are is written down on the target, and changes only while all are at the
 * same tick: a batch that was begun by n lanes is ended by n lanes, whatever the config says by
 * then. Each position has a lock of its own, which does not depend on n.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* ---- lanes */

int job_open_lanes(struct job *j, size_t n, struct err *e)
{
	for (size_t i = 0; i < n && !e->code; i++)
		if (!j->dst[i])
			j->dst[i] = style_open(j->conf->dst_db, &j->style, e);
	return e->code;
}

size_t job_lane_of(const struct job *j, struct span partition)
{
	uint64_t number = 0;

	for (size_t i = 0; i < partition.n; i++)
		number = 10 * number + (unsigned char)partition.p[i];
	return number % j->lanes;
}

void job_close_lanes(struct job *j)
{
	for (size_t i = 0; i < LANES_MAX; i++) {
		pq_close(j->dst[i]);
		j->dst[i] = NULL;
	}
}

static int roll_back(struct job *j, size_t n, struct err *e)
{
	for (size_t i = 0; i < n && !e->code; i++)
		position_rollback(j->dst[i], e);
	return e->code;
}

static int move_queue(struct job *j, int64_t tick, struct err *e)
{
	return queue_rewind(j->src, j->conf->queue_name, j->conf->consumer_name, tick, e) < 0 ? e->code : JOB_MOVED;
}

static int lost(const struct job *j, const struct queue_batch *b, const char *whose, int64_t tick, struct err *e)
{
	return err_set(e, ERR_POSITION, "lost position: queue %s is at tick %" PRId64 ", the target of consumer %s%s at tick %"
		PRId64 ". Nothing was written. --rewind sets the queue to the target's tick, if PgQ still has it;"
		" --reset forgets the target's tick and goes on from the queue's",
		j->conf->queue_name, b->prev_tick, j->conf->consumer_name, whose, tick);
}

/* Lane 0's position. PgQ gives an open batch again as it is; but after --rewind, or when the source
 * lost its last commits, ticks are merged anew and the end may be a later one: then the tick inside
 * says how much of it is in. */
static int judge(struct job *j, const struct queue_batch *b, const struct position *pos, struct err *e)
{
	if (!pos->known || pos->tick == b->prev_tick)
		return JOB_TO_LOAD;
	if (roll_back(j, 1, e) < 0)
		return e->code;
	if (pos->tick == b->tick)
		return JOB_IS_IN;
	bool active = true;     /* another process may have loaded and finished it since we asked for it */
	if (queue_batch_active(j->src, b->id, &active, e) < 0)
		return e->code;
	if (!active)
		return err_set(e, ERR_CONFLICT, "another process loads for consumer %s at this moment", j->conf->consumer_name);
	if (!j->conf->batch_min_events || pos->tick < b->prev_tick || pos->tick > b->tick)
		return lost(j, b, "", pos->tick, e);
	log_warn("batch %" PRId64 " is in the target up to tick %" PRId64 " of %" PRId64 ": moving queue %s there", b->id,
		pos->tick, b->tick, j->conf->queue_name);
	return move_queue(j, pos->tick, e);
}

/* A lane that is ahead has this batch, if that began where lane 0 is or before. */
static int judge_ahead(struct job *j, const struct queue_batch *b, const struct position *pos, struct err *e)
{
	if (!pos->known || pos->tick < b->prev_tick || pos->from > b->prev_tick)
		return lost(j, b, ", in one of its lanes,", pos->tick, e);
	if (pos->tick >= b->tick)
		return JOB_TO_LOAD;
	/* inside of a merged batch: tick by tick, until all lanes are there */
	log_warn("batch %" PRId64 " is in a part of the target up to tick %" PRId64 " of %" PRId64 ": going tick by tick", b->id,
		pos->tick, b->tick);
	j->single_until = pos->tick;
	job_close_lanes(j);
	return move_queue(j, b->prev_tick, e);
}

/* Opens the transactions of the lanes after lane 0; *ahead: one has the batch already. */
static int begin_others(struct job *j, const struct queue_batch *b, bool *ahead, struct err *e)
{
	struct position pos;
	int verdict = JOB_TO_LOAD;

	if (job_open_lanes(j, j->lanes, e) < 0)
		return e->code;
	for (size_t i = 1; i < j->lanes && verdict == JOB_TO_LOAD; i++) {
		if (position_begin(j->dst[i], j->conf->consumer_name, i, j->lanes, j->kind, &pos, e) < 0)
			return e->code;
		j->loads[i] = pos.known && pos.tick == b->prev_tick;
		*ahead |= !j->loads[i];
		if (!j->loads[i])
			verdict = judge_ahead(j, b, &pos, e);
	}
	return verdict;
}

static int change_number(struct job *j, const struct queue_batch *b, struct err *e)
{
	size_t others = j->lanes;

	j->lanes = (size_t)j->conf->lanes;
	sink_forget(j->sink);           /* partitions change their lanes */
	if (j->kind != POSITION_LANES)
		return err_set(e, ERR_SHAPE, "pgq_ext on the target knows no subconsumers: lanes must be 1");
	if (position_set_lanes(j->dst[0], j->conf->consumer_name, j->lanes, b->prev_tick, e) < 0)
		return e->code;
	for (size_t i = 1; i < others && !e->code; i++)
		position_rollback(j->dst[i], e);
	return e->code;
}

int job_begin(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct position pos;
	bool ahead = false;

	if (job_open_lanes(j, 1, e) < 0 ||
	    position_begin(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, &pos, e) < 0)
		return e->code;
	int verdict = judge(j, b, &pos, e);
	if (verdict != JOB_TO_LOAD)
		return verdict;
	if (pos.lanes < 1 || pos.lanes > LANES_MAX)
		return err_set(e, ERR_POSITION, "pgq_ext on the target says that consumer %s has %" PRId64 " lanes: --reset forgets them",
			j->conf->consumer_name, pos.lanes);
	size_t before = j->lanes;
	j->lanes = pos.known ? (size_t)pos.lanes : 1;
	j->loads[0] = true;
	if (before != j->lanes)
		sink_forget(j->sink);
	verdict = begin_others(j, b, &ahead, e);
	if (verdict != JOB_TO_LOAD || ahead || j->lanes == (size_t)j->conf->lanes)
		return verdict;
	return change_number(j, b, e) < 0 ? e->code : job_begin(j, b, e);
}

int job_leave_out(struct job *j, struct pq *dst, struct err *e)
{
	tally_clear(&j->generated);
	if (!j->conf->nfield && part_generated(dst, j->conf, &j->generated, e) == 0)
		route_leave_out(j->route, &j->generated);
	return e->code;
}

/* The partitions whose tables got rows on that lane, into names, which has room for all. */
static size_t names_of_lane(struct job *j, size_t lane, struct part_name *names, struct err *e)
{
	const struct tally *rows = sink_tally(j->sink);
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++) {
		struct span name = span_of(rows->at[i].name);
		if (job_lane_of(j, name) != lane)
			continue;
		names[n] = (struct part_name){ .name = name };
		retain_may_be_loose(j, name, &names[n].old, e);
		n++;
	}
	return n;
}

/* first: statements to be run before. b: NULL leaves the position as it is. */
static int commit_after(struct job *j, const char *first, size_t lane, const struct queue_batch *b, struct err *e)
{
	if (!b)
		return position_keep(j->dst[lane], first, e);
	return position_commit(j->dst[lane], first, j->conf->consumer_name, lane, j->lanes, b->prev_tick, b->tick, e);
}

/* What is known of the target may be no longer true. */
static void look_anew(struct job *j, size_t lane, const struct err *e)
{
	struct err ignored = { 0 };

	j->children = false;
	if (e->code == ERR_CONFLICT && j->generated.n)
		job_leave_out(j, j->dst[lane], &ignored);
}

/* The tables that got rows are locked by now: who is the right one remains so. Where all are children
 * of dest_table, as they were in the last batch, the question goes with the COMMIT. */
static int commit_lane(struct job *j, size_t lane, const struct queue_batch *b, struct err *e)
{
	struct part_name *names = mem_alloc((sink_tally(j->sink)->n + 1) * sizeof *names);
	size_t n = names_of_lane(j, lane, names, e);
	struct buf first = { 0 };

	if (j->children)
		part_add_children(&first, j->dst[lane], j->conf, names, n);
	else if (!e->code)
		part_right(j->dst[lane], j->conf, names, n, &j->children, e);
	part_add_generated(&first, j->conf, names, n, &j->generated);
	if (!e->code && commit_after(j, buf_cstr(&first), lane, b, e) < 0) {
		part_refused(j->dst[lane], j->conf, names, n, &j->generated, e);
		look_anew(j, lane, e);
	}
	buf_free(&first);
	free(names);
	return e->code;
}

int job_commit(struct job *j, const struct queue_batch *b, struct err *e)
{
	for (size_t i = j->lanes; i-- > 0 && !e->code;) {
		if (j->loads[i])
			commit_lane(j, i, b, e);
		else
			position_rollback(j->dst[i], e);
	}
	return e->code;
}

int job_keep(struct job *j, struct err *e)
{
	return commit_lane(j, 0, NULL, e);
}

/* ---- connections */

void job_disconnect(struct job *j)
{
	pq_close(j->src);
	pq_close(j->ddl);
	j->src = j->ddl = NULL;
	job_close_lanes(j);
	if (j->sink)
		sink_discard(j->sink);
}

void job_free(struct job *j)
{
	job_disconnect(j);
	j->to_finish = j->last_tick = j->single_until = 0;
	j->children = false;
	route_free(j->route);
	sink_free(j->sink);
	retain_free(&j->retain);
	tally_clear(&j->generated);
	j->style = (struct style){ 0 };
	j->route = NULL;
	j->sink = NULL;
}

/* A consumer that the target knows must not be registered: it would start at the newest tick. */
static int check_registration(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	bool known;
	int64_t tick;

	if (queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 || position_kind(j->dst[0], &j->kind, e) < 0)
		return e->code;
	if (queue_require(&state, c->queue_name, e) < 0 || position_require(j->kind, e) < 0)
		return e->code;
	if (state.last_tick_age_ms > TICK_IS_OLD_MS)
		log_warn("src_db: the newest tick of queue %s is %" PRId64 " s old, and events are read after a tick: does a ticker"
			" (pgqd) run?", c->queue_name, state.last_tick_age_ms / 1000);
	if (state.consumer)
		return 0;
	if (position_get(j->dst[0], c->consumer_name, &known, &tick, e) < 0)
		return e->code;
	if (known)
		return position_unregistered(c, tick, e);
	log_warn("consumer %s was not registered on queue %s: it is now, and gets what comes from now on", c->consumer_name, c->queue_name);
	return queue_register(j->src, c->queue_name, c->consumer_name, e);
}

int job_source(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;

	if (!j->route) {
		bool by_column = c->part_field && strcmp(c->part_field, "_EVTIME") != 0;
		j->route = route_new(c->field, c->nfield, by_column ? c->part_field : NULL);
		j->sink = sink_new();
	}
	j->src = pq_open("src_db", c->src_db, NULL, e);
	if (!j->src || conf_fits(c, pq_server_encoding(j->src), e) < 0)
		return e->code;
	return style_ask(j->src, c, &j->style, e);
}

int job_connect(struct job *j, struct err *e)
{
	if (j->src && j->dst[0])
		return 0;
	job_disconnect(j);
	if (job_source(j, e) < 0 || job_open_lanes(j, 1, e) < 0 || check_registration(j, e) < 0)
		return e->code;
	if (job_leave_out(j, j->dst[0], e) < 0)
		return e->code;
	return j->conf->error == ON_ERROR_DEAD_LETTER ? dead_require(j->dst[0], e) : 0;
}
