/*
 * The job's connections to both servers, and what is checked once when they are new.
 *
 * The lanes: connections that load a batch in parallel, their transactions and positions.
 *
 * A partition belongs to one lane, by a hash of its name: the name read as a decimal number,
 * letters too, so that consecutive days are spread evenly, however few. Each lane loads and commits
 * its rows with its own tick: lane 0 under the consumer's name, lane k of n under a subconsumer's.
 * All lanes have sent their rows before the first commits, and lane 0 commits last. So lane 0's
 * tick is the consumer's position as any PgQ consumer stores it, and after a kill between two
 * commits the other lanes' ticks tell which of them have the batch: these are skipped when it comes
 * again.
 *
 * The number of lanes is stored on the target, and changes only while all are at the same tick: n
 * lanes finish a batch that n lanes began, whatever the config says by then. Each position has its
 * own lock, which does not depend on n.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define LOOKS_MAX 10                    /* at positions that another process is moving */

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
	assert(j->lanes >= 1 && j->lanes <= LANES_MAX);
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

/* Asks the source about ticks that are not at an end of the batch. */
static int ask_source(struct job *j, struct judge_case *c, struct position *pos, struct err *e)
{
	if (!judge_needs_times(c))
		return 0;
	return queue_times(j->src, j->conf->queue_name, pos, c->n, &c->newest, e);
}

static int busy(const struct job *j, struct err *e)
{
	return err_set(e, ERR_CONFLICT, "another process loads for consumer %s at this moment",
		j->conf->consumer_name);
}

/* ERR_CONFLICT when another process has finished the batch since we asked for it. */
static int check_active(struct job *j, const struct queue_batch *b, struct err *e)
{
	bool active = true;

	if (queue_batch_active(j->src, b->id, &active, e) == 0 && !active)
		busy(j, e);
	return e->code;
}

/* Carries out a verdict other than loading. */
static int follow(struct job *j, const struct queue_batch *b, const struct verdict *v,
	struct err *e)
{
	if (roll_back(j, j->lanes, e) < 0)
		return e->code;
	if (v->kind == VERDICT_IS_IN)
		return JOB_IS_IN;
	if (check_active(j, b, e) < 0)
		return e->code;
	if (judge_stops(v))
		return err_set(e, ERR_POSITION, "%s", v->words);
	if (v->kind == VERDICT_MOVE) {
		log_warn("%s: moving queue %s there", v->words, j->conf->queue_name);
		return move_queue(j, v->tick, e);
	}
	log_warn("%s: going tick by tick", v->words);
	j->single_until = v->tick;
	job_close_lanes(j);
	return move_queue(j, b->prev_tick, e);
}

/* Opens the transactions of all lanes that have a position and reads these. */
static int begin_lanes(struct job *j, struct position pos[LANES_MAX], struct err *e)
{
	if (job_open_lanes(j, 1, e) < 0 ||
	    position_begin(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, &pos[0], e) < 0)
		return e->code;
	j->lanes = judge_lanes(&pos[0]);
	if (job_open_lanes(j, j->lanes, e) < 0)
		return e->code;
	for (size_t i = 1; i < j->lanes && !e->code; i++)
		position_begin(j->dst[i], j->conf->consumer_name, i, j->lanes, j->kind, &pos[i], e);
	return e->code;
}

static int change_number(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct position pos = { .tick = b->prev_tick, .time_us = b->prev_us, .from = b->prev_tick };
	size_t others = j->lanes;

	j->lanes = (size_t)j->conf->lanes;
	if (j->kind != POSITION_LANES)
		return err_set(e, ERR_SHAPE, "pgq_ext on the target knows no subconsumers: lanes must be 1");
	pos.rule = judge_rule(&j->conf->dest, j->lanes);
	if (position_set_lanes(j->dst[0], j->conf->consumer_name, j->lanes, &pos, e) < 0)
		return e->code;
	for (size_t i = 1; i < others && !e->code; i++)
		position_rollback(j->dst[i], e);
	return e->code;
}

int job_begin(struct job *j, const struct queue_batch *b, struct err *e)
{
	struct position pos[LANES_MAX];
	struct judge_case c = {
		.conf = j->conf, .batch = b, .pos = pos, .single = b->prev_tick < j->single_until,
	};

	if (begin_lanes(j, pos, e) < 0)
		return e->code;
	c.n = j->lanes;
	if (ask_source(j, &c, pos, e) < 0)
		return e->code;
	struct verdict v = judge_position(&c);
	if (v.kind != VERDICT_LOAD)
		return follow(j, b, &v, e);
	memcpy(j->loads, v.loads, sizeof j->loads);
	if (v.ahead || j->lanes == (size_t)j->conf->lanes)
		return JOB_TO_LOAD;
	return change_number(j, b, e) < 0 ? e->code : job_begin(j, b, e);
}

static int look_once(struct job *j, struct pq *dst, struct queue_batch *b, struct verdict *v,
	struct err *e)
{
	const struct conf *c = j->conf;
	struct position pos[LANES_MAX];
	struct judge_case judged = { .conf = c, .batch = b, .pos = pos };
	struct queue_state state;

	queue_batch_free(b);
	*b = (struct queue_batch){ 0 };
	/* first ask for what a running process moves last */
	if (queue_peek(j->src, c->queue_name, c->consumer_name, c->batch_min_events, b, e) < 0)
		return e->code;
	if (!b->tick && queue_state(j->src, c->queue_name, c->consumer_name, &state, e) == 0)
		b->prev_tick = state.consumer_tick;
	if (e->code || position_look(dst, c->consumer_name, j->kind, pos, &judged.n, e) < 0 ||
	    ask_source(j, &judged, pos, e) < 0)
		return e->code;
	*v = judge_position(&judged);
	return 0;
}

int job_look(struct job *j, struct pq *dst, struct queue_batch *b, struct verdict *v, struct err *e)
{
	int64_t before = -1;

	for (int tries = LOOKS_MAX; tries-- > 0;) {
		if (look_once(j, dst, b, v, e) < 0 || !judge_stops(v) || b->prev_tick == before)
			return e->code;
		before = b->prev_tick;
	}
	return busy(j, e);
}

int job_leave_out(struct job *j, struct pq *dst, struct err *e)
{
	tally_clear(&j->generated);
	return j->conf->dest.nfield ? 0 : table_generated(dst, &j->conf->dest, &j->generated, e);
}

/* The partitions whose tables got rows on that lane, into names, which has room for all. */
static size_t names_of_lane(const struct job *j, size_t lane, const struct tally *rows,
	struct table_name *names)
{
	size_t n = 0;

	for (size_t i = 0; i < rows->n; i++) {
		struct span name = span_of(rows->at[i].name);
		if (job_lane_of(j, name) != lane)
			continue;
		names[n++] = (struct table_name){ name, retain_may_be_loose(j, name) };
	}
	return n;
}

/* first: statements to be run before. b: NULL leaves the position as it is. */
static int commit_after(struct job *j, const char *first, size_t lane, const struct queue_batch *b,
	struct err *e)
{
	if (!b)
		return position_keep(j->dst[lane], first, e);
	const struct position pos = {
		.tick = b->tick, .time_us = b->tick_us,
		.from = b->prev_tick, .rule = judge_rule(&j->conf->dest, j->lanes),
	};
	return position_commit(j->dst[lane], first, j->conf->consumer_name, lane, j->lanes, j->kind,
		&pos, e);
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
static int commit_lane(struct job *j, size_t lane, const struct queue_batch *b, const struct tally *rows,
	struct err *e)
{
	const struct dest *d = &j->conf->dest;
	struct table_name *names = mem_alloc((rows->n + 1) * sizeof *names);
	size_t n = names_of_lane(j, lane, rows, names);
	struct buf first = { 0 };

	if (j->children)
		table_add_children(&first, j->dst[lane], d, names, n);
	else if (!e->code)
		table_right(j->dst[lane], d, names, n, &j->children, NULL, e);
	table_add_generated(&first, d, names, n, &j->generated);
	if (!e->code && commit_after(j, buf_cstr(&first), lane, b, e) < 0) {
		table_refused(j->dst[lane], d, names, n, &j->generated, e);
		look_anew(j, lane, e);
	}
	buf_free(&first);
	free(names);
	return e->code;
}

int job_commit(struct job *j, const struct queue_batch *b, const struct tally *rows, struct err *e)
{
	for (size_t i = j->lanes; i-- > 0 && !e->code;) {
		if (j->loads[i])
			commit_lane(j, i, b, rows, e);
		else
			position_rollback(j->dst[i], e);
	}
	return e->code;
}

int job_keep(struct job *j, const struct tally *rows, struct err *e)
{
	return commit_lane(j, 0, NULL, rows, e);
}

/* ---- connections */

void job_disconnect(struct job *j)
{
	pq_close(j->src);
	pq_close(j->ddl);
	j->src = j->ddl = NULL;
	job_close_lanes(j);
}

void job_free(struct job *j)
{
	job_disconnect(j);
	j->single_until = 0;
	j->children = false;
	retain_free(&j->retain);
	tally_clear(&j->generated);
	j->style = (struct style){ 0 };
}

/* Stores the times of ticks that another program has set, if both sides are at the same tick. */
static int complete_positions(struct job *j, const struct judge_case *c, struct err *e)
{
	const char *consumer = j->conf->consumer_name;

	for (size_t i = 0; i < c->n && j->kind == POSITION_LANES && !e->code; i++) {
		const struct position *pos = &c->pos[i];
		if (!pos->known || pos->time_us || pos->source_us <= 0 ||
		    pos->tick != c->batch->prev_tick)
			continue;
		if (position_complete(j->dst[0], consumer, i, c->n, pos, e) == ERR_CONFLICT) {
			*e = (struct err){ 0 }; /* the process that loads writes the time too */
			position_rollback(j->dst[0], e);
		}
	}
	return e->code;
}

/* The queue may be empty for long, so this does not wait for a batch. */
static int check_position(struct job *j, const struct queue_state *state, struct position *pos,
	size_t n, struct err *e)
{
	const struct queue_batch none = { .prev_tick = state->consumer_tick };
	struct judge_case c = { .conf = j->conf, .batch = &none, .pos = pos, .n = n };

	if (ask_source(j, &c, pos, e) < 0)
		return e->code;
	struct verdict v = judge_position(&c);
	if (judge_stops(&v))
		return err_set(e, ERR_POSITION, "%s", v.words);
	return complete_positions(j, &c, e);
}

int job_check_name(const struct conf *c, struct pq *src, struct pq *dst, struct err *e)
{
	struct queue_state state = { 0 };
	enum position_kind kind = POSITION_NONE;
	bool known = false;
	int64_t tick;

	if (!c->base_consumer)
		return 0;
	if (src && queue_state(src, c->queue_name, c->base_consumer, &state, e) < 0)
		return e->code;
	if (dst && position_kind(dst, &kind, e) == 0 && kind != POSITION_NONE)
		position_get(dst, c->base_consumer, &known, &tick, e);
	if (e->code || (!state.consumer && !known))
		return e->code;
	return err_set(e, ERR_CONF, "%s: neither job_name nor consumer_name is set: is the consumer %s, as in"
		" table_dispatcher 2.1, or %s, by the file's name, which %s? Add job_name = %s"
		" to go on as the latter, or job_name = " VALUES_OLD_SECTION " as the former", c->file, c->consumer_name,
		c->base_consumer, !known ? "the queue knows" : !state.consumer ? "the target knows" : "queue and target know",
		c->base_name);
}

/* A consumer that the target knows must not be registered: it would start at the newest tick. */
static int check_registration(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	struct position pos[LANES_MAX];
	size_t n;

	/* the queue's position first: a process that loads moves it last */
	if (queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 || position_kind(j->dst[0], &j->kind, e) < 0)
		return e->code;
	if (queue_require(&state, c->queue_name, e) < 0 || position_require(j->kind, e) < 0)
		return e->code;
	if (state.last_tick_age_ms > TICK_IS_OLD_MS)
		log_warn("src_db: the newest tick of queue %s is %" PRId64 " s old, and events are read after a tick: does a ticker"
			" (pgqd) run?", c->queue_name, state.last_tick_age_ms / 1000);
	if (job_check_name(c, j->src, j->dst[0], e) < 0 ||
	    position_look(j->dst[0], c->consumer_name, j->kind, pos, &n, e) < 0)
		return e->code;
	if (state.consumer)
		return check_position(j, &state, pos, n, e);
	if (pos[0].known)
		return position_unregistered(c, pos[0].tick, e);
	log_warn("consumer %s was not registered on queue %s: it is now, and gets what comes from now on", c->consumer_name, c->queue_name);
	return queue_register(j->src, c->queue_name, c->consumer_name, e);
}

int job_source(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;

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
	return j->conf->on_error == ON_ERROR_DEAD_LETTER ? dead_require(j->dst[0], e) : 0;
}
