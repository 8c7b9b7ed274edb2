/*
 * What a batch of the queue and the positions of the target's lanes mean together: the one rule
 * about positions, for the run and for the switches that only look. Pure: asks no server.
 *
 * A position is a tick: its number, and its time as proof that the number still means the same
 * tick. A queue that was restored or recreated reuses the numbers for other events.
 *
 * Each lane has its own position, and lane 0, whose position is the consumer's, commits last. So
 * after a kill between two commits some other lanes are one batch ahead of lane 0.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "pg.h"

/* Changes whenever judge_rule computes the hash in another way. */
#define RULE_VERSION INT64_C(1)
#define RULE_BITS 56

static const char remedies[] = "Nothing was written. Is dst_db the right target?"
	" --rewind sets the queue to the target's tick,"
	" if PgQ still has it; --reset forgets the target's tick and goes on from the queue's."
	" If another config has this consumer name, do neither: give one a job_name of its own";

static void say(struct verdict *v, enum verdict_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct verdict *v, enum verdict_kind kind, const char *fmt, ...)
{
	va_list ap;

	v->kind = kind;
	v->stops = kind >= VERDICT_LOST;
	va_start(ap, fmt);
	vsnprintf(v->words, sizeof v->words, fmt, ap);
	va_end(ap);
}

/* " of 2026-01-31 12:00:00.123456 UTC"; "" for a time that is not known. */
static void add_time(struct buf *words, int64_t us)
{
	time_t s = (time_t)(us / 1000000);
	struct tm tm;
	char text[40];

	if (us <= 0 || !gmtime_r(&s, &tm))
		return;
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	buf_fmt(words, " of %s.%06d UTC", text, (int)(us % 1000000));
}

/* "the target of consumer job", and which lane of it. */
static void add_whose(struct buf *words, const struct judge_case *c, size_t lane)
{
	buf_fmt(words, "the target of consumer %s", c->conf->consumer_name);
	if (lane)
		buf_fmt(words, ", in lane %zu,", lane);
}

/* The time of the queue's tick by a position's number: 0 when it is not known, or QUEUE_NO_TICK. */
static int64_t time_there(const struct judge_case *c, const struct position *pos)
{
	const struct queue_batch *b = c->batch;

	if (b->prev_us && pos->tick == b->prev_tick)
		return b->prev_us;
	return b->tick_us && pos->tick == b->tick ? b->tick_us : pos->source_us;
}

/* A program that knows no lanes has moved the consumer's position. */
static bool is_left_behind(const struct judge_case *c, size_t lane)
{
	const struct position *pos = &c->pos[lane], *first = &c->pos[0];

	return lane && pos->known && first->tick == c->batch->prev_tick && pos->tick < first->tick;
}

static void leave_behind(const struct judge_case *c, struct verdict *v, size_t lane)
{
	say(v, VERDICT_LEFT, "lost position: lane %zu of the target of consumer %s was left at tick"
		" %" PRId64 " while another program loaded up to tick %" PRId64 ". Nothing was"
		" written. If that program has ended its batch: --reset, nothing comes twice",
		lane, c->conf->consumer_name, c->pos[lane].tick, c->pos[0].tick);
}

static void lose(const struct judge_case *c, struct verdict *v, size_t lane)
{
	const struct position *pos = &c->pos[lane];
	const char *queue = c->conf->queue_name;
	struct buf whose = { 0 }, time = { 0 };
	int64_t at = c->batch->prev_tick;

	if (is_left_behind(c, lane)) {
		leave_behind(c, v, lane);
		return;
	}
	add_whose(&whose, c, lane);
	add_time(&time, pos->time_us);
	buf_cstr(&time);
	if (!pos->known)
		say(v, VERDICT_LOST, "lost position: queue %s is at tick %" PRId64
			", %s at none. %s", queue, at, buf_cstr(&whose), remedies);
	else if (c->newest && pos->tick > c->newest)
		say(v, VERDICT_LOST, "lost position: the newest tick of queue %s is %" PRId64
			", its consumer is at %" PRId64 ", %s is at tick %" PRId64
			"%s. Is it the right queue? %s", queue, c->newest, at,
			buf_cstr(&whose), pos->tick, buf_cstr(&time), remedies);
	else if (time_there(c, pos) == QUEUE_NO_TICK)
		say(v, VERDICT_LOST, "lost position: queue %s, at tick %" PRId64
			", has no tick %" PRId64 ", at which %s is%s. %s", queue, at, pos->tick,
			buf_cstr(&whose), buf_cstr(&time), remedies);
	else
		say(v, VERDICT_LOST, "lost position: queue %s is at tick %" PRId64
			", %s at tick %" PRId64 ". %s", queue, at, buf_cstr(&whose), pos->tick,
			remedies);
	buf_free(&whose);
	buf_free(&time);
}

static void find_other(const struct judge_case *c, struct verdict *v, size_t lane)
{
	const struct position *pos = &c->pos[lane];
	struct buf whose = { 0 }, here = { 0 }, there = { 0 };

	add_whose(&whose, c, lane);
	add_time(&here, pos->time_us);
	add_time(&there, time_there(c, pos));
	say(v, VERDICT_OTHER, "lost position: tick %" PRId64 " of queue %s is one%s, %s has loaded"
		" up to one%s: the queue was set back or made anew, or it is another one. Nothing"
		" was written. --rewind would set the queue to the wrong place; --reset forgets"
		" the target's tick and goes on from the queue's, %" PRId64 ": look first which"
		" rows would be missing then, or come twice", pos->tick, c->conf->queue_name,
		buf_cstr(&there), buf_cstr(&whose), buf_cstr(&here), c->batch->prev_tick);
	buf_free(&whose);
	buf_free(&here);
	buf_free(&there);
}

/* Is the queue's tick of that number the tick that the lane loaded? If another program has set the
 * position, only the number can be compared. */
static void identify(const struct judge_case *c, struct verdict *v, size_t lane)
{
	const struct position *pos = &c->pos[lane];
	int64_t there = time_there(c, pos);

	if (!pos->known || v->kind != VERDICT_LOAD)
		return;
	if (there == QUEUE_NO_TICK || (c->newest && pos->tick > c->newest))
		lose(c, v, lane);
	else if (pos->time_us && there && pos->time_us != there)
		find_other(c, v, lane);
}

/* PgQ returns an open batch again unchanged. But after --rewind, or when the source lost its last
 * commits, ticks are merged again and the batch may end later: then the target's tick is inside it,
 * and tells how much of it is loaded. Where ticks are not merged, that needs the tick's time as
 * proof. */
static void judge_consumer(const struct judge_case *c, struct verdict *v)
{
	const struct queue_batch *b = c->batch;
	const struct position *pos = &c->pos[0];
	bool sure = c->conf->batch_min_events || (pos->time_us && time_there(c, pos));
	bool inside = pos->tick > b->prev_tick && pos->tick < b->tick;

	if (pos->tick == b->prev_tick) {
		v->loads[0] = true;
	} else if (b->tick && pos->tick == b->tick) {
		say(v, VERDICT_IS_IN, "batch %" PRId64 " is in the target already", b->id);
	} else if (inside && sure) {
		say(v, VERDICT_MOVE, "batch %" PRId64 " is in the target up to tick %" PRId64
			" of %" PRId64, b->id, pos->tick, b->tick);
		v->tick = pos->tick;
	} else if (pos->tick < b->prev_tick || b->tick) {
		lose(c, v, 0);
	}
}

static void add_dest(struct buf *inputs, const struct dest *d)
{
	buf_literal(inputs, (struct span){ d->schema.p ? d->schema.p : "", d->schema.n });
	buf_str(inputs, " ");
	buf_literal(inputs, (struct span){ d->table.p ? d->table.p : "", d->table.n });
	buf_str(inputs, " ");
	buf_literal(inputs, span_of(d->part_field ? d->part_field : ""));
	buf_fmt(inputs, " %d %d %d", d->period.method, d->period.zoned, d->period.zone_s);
	if (d->period.named)
		buf_literal(inputs, span_of(d->part_timezone));
	if (d->period.method == PERIOD_NUMBER)
		buf_fmt(inputs, " %" PRId64, d->period.step);
	if (d->row_mode != ROWS_LOG) {
		buf_fmt(inputs, " %d ", d->row_mode);
		buf_literal(inputs, span_of(d->row_key ? d->row_key : ""));
	}
}

static void add_rule(struct buf *inputs, const struct rule *rule)
{
	buf_literal(inputs, span_of(rule->section));
	buf_fmt(inputs, " %d ", rule->ignore);
	if (rule->by_name)              /* its names are in the text alone */
		buf_literal(inputs, span_of(rule->dest.dest_table));
	if (!rule->ignore)
		add_dest(inputs, &rule->dest);
	buf_str(inputs, "\n");
}

int64_t judge_rule(const struct conf *c, size_t lanes)
{
	struct buf inputs = { 0 };

	for (size_t i = 0; i < c->nrule; i++)
		add_rule(&inputs, &c->rule[i]);
	if (!c->nrule)
		add_dest(&inputs, &c->dest);
	buf_fmt(&inputs, " %zu", lanes);
	uint64_t hash = span_hash("tdispatch rule", (struct span){ inputs.p, inputs.len });
	buf_free(&inputs);
	hash &= (UINT64_C(1) << RULE_BITS) - 1;
	return RULE_VERSION << RULE_BITS | (int64_t)hash;
}

/* With another rule, the remaining lanes would load other rows than those that are missing. */
static void refuse_change(const struct judge_case *c, struct verdict *v, size_t lane)
{
	bool version = c->pos[lane].rule >> RULE_BITS != RULE_VERSION;

	say(v, VERDICT_CHANGED, "batch %" PRId64 " is in a part of the target already, which was"
		" loaded %s: rows would be lost and doubled. Nothing was written. %s finish the"
		" batch (--once), and change after that", c->batch->id,
		version ?
		"by another version of tdispatch, with another rule for the lanes of rows" :
		"with other sections or other values of dest_table, row_mode, row_key, part_field,"
		" part_method or part_timezone",
		version ? "Let that version" : "Put the old values back, let them");
}

/* A lane that is ahead of lane 0 has this batch if its last batch began at lane 0's tick or
 * before. */
static void judge_other(const struct judge_case *c, struct verdict *v, size_t lane)
{
	const struct queue_batch *b = c->batch;
	const struct position *pos = &c->pos[lane];
	bool inside = b->tick && pos->tick < b->tick;

	if (pos->known && pos->tick == b->prev_tick) {
		v->loads[lane] = true;
		return;
	}
	v->ahead = true;
	if (!pos->known || pos->tick < b->prev_tick || pos->from > b->prev_tick ||
	    (inside && c->single))
		lose(c, v, lane);
	else if (b->tick && pos->rule && pos->rule != judge_rule(c->conf, c->n))
		refuse_change(c, v, lane);
	else if (inside && v->tick < pos->tick)
		v->tick = pos->tick;
}

static void judge_others(const struct judge_case *c, struct verdict *v)
{
	const struct queue_batch *b = c->batch;

	for (size_t i = 1; i < c->n && v->kind == VERDICT_LOAD; i++)
		judge_other(c, v, i);
	if (v->kind != VERDICT_LOAD || !v->ahead || !b->tick)
		return;
	if (v->tick)
		say(v, VERDICT_SINGLE, "batch %" PRId64 " is in a part of the target up to tick %"
			PRId64 " of %" PRId64, b->id, v->tick, b->tick);
	else
		say(v, VERDICT_LOAD, "batch %" PRId64 " is in a part of the target already",
			b->id);
}

size_t judge_lanes(const struct position *pos)
{
	return pos->known && pos->lanes > 1 && pos->lanes <= LANES_MAX ? (size_t)pos->lanes : 1;
}

bool judge_needs_times(const struct judge_case *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->pos[i].known && !time_there(c, &c->pos[i]))
			return true;
	return false;
}


struct verdict judge_position(const struct judge_case *c)
{
	struct verdict v = { .kind = VERDICT_LOAD };
	int64_t lanes = c->pos[0].lanes;

	if (!c->pos[0].known) {
		v.loads[0] = true;
		return v;
	}
	if (lanes < 1 || lanes > LANES_MAX)
		say(&v, VERDICT_LOST, "pgq_ext on the target says that consumer %s has %" PRId64
			" lanes: --reset forgets them", c->conf->consumer_name, lanes);
	for (size_t i = 0; i < c->n; i++)
		identify(c, &v, i);
	if (v.kind == VERDICT_LOAD)
		judge_consumer(c, &v);
	if (v.loads[0])
		judge_others(c, &v);
	return v;
}
