/*
 * What a batch of the queue and the positions of the target's lanes mean together: the one rule
 * about positions, for the run and for the switches that only look. Pure: asks no server.
 *
 * A lane has a position of its own, and lane 0, whose position is the consumer's, commits last. So
 * after a kill between two commits some of the other lanes are ahead of lane 0 by a batch.
 */
#include <inttypes.h>
#include <stdio.h>

#include "pg.h"

static const char remedies[] = "Nothing was written. --rewind sets the queue to the target's tick, if PgQ still"
	" has it; --reset forgets the target's tick and goes on from the queue's";

static void say(struct verdict *v, enum verdict_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct verdict *v, enum verdict_kind kind, const char *fmt, ...)
{
	va_list ap;

	v->kind = kind;
	va_start(ap, fmt);
	vsnprintf(v->words, sizeof v->words, fmt, ap);
	va_end(ap);
}

static void lose(const struct judge_case *c, struct verdict *v, size_t lane)
{
	char where[40] = "";
	const struct position *pos = &c->pos[lane];

	if (lane)
		snprintf(where, sizeof where, ", in lane %zu,", lane);
	if (!pos->known)
		say(v, VERDICT_LOST, "lost position: queue %s is at tick %" PRId64 ", the target of consumer %s%s at none. %s",
			c->conf->queue_name, c->batch->prev_tick, c->conf->consumer_name, where, remedies);
	else if (c->newest && pos->tick > c->newest)
		say(v, VERDICT_LOST, "lost position: the newest tick of queue %s is %" PRId64 ", its consumer is at %" PRId64
			", the target of consumer %s%s is at tick %" PRId64 ". Is it the right queue and target? %s",
			c->conf->queue_name, c->newest, c->batch->prev_tick, c->conf->consumer_name, where, pos->tick, remedies);
	else
		say(v, VERDICT_LOST, "lost position: queue %s is at tick %" PRId64 ", the target of consumer %s%s at tick %"
			PRId64 ". %s", c->conf->queue_name, c->batch->prev_tick, c->conf->consumer_name, where, pos->tick, remedies);
}

/* PgQ gives an open batch again as it is; but after --rewind, or when the source lost its last
 * commits, ticks are merged anew and the end may be a later one: then the tick inside says how much
 * of it is in. */
static void judge_consumer(const struct judge_case *c, struct verdict *v)
{
	const struct queue_batch *b = c->batch;
	int64_t tick = c->pos[0].tick;

	if (tick == b->prev_tick)
		v->loads[0] = true;
	else if (tick < b->prev_tick || (c->newest && tick > c->newest))
		lose(c, v, 0);
	else if (tick == b->tick)
		say(v, VERDICT_IS_IN, "batch %" PRId64 " is in the target already", b->id);
	else if (b->tick && (tick > b->tick || !c->conf->batch_min_events))
		lose(c, v, 0);
	else if (b->tick)
		say(v, VERDICT_MOVE, "batch %" PRId64 " is in the target up to tick %" PRId64 " of %" PRId64, b->id, tick, b->tick);
}

/* A lane that is ahead has this batch, if its own began where lane 0 is or before. */
static void judge_other(const struct judge_case *c, struct verdict *v, size_t lane)
{
	const struct queue_batch *b = c->batch;
	const struct position *pos = &c->pos[lane];

	if (pos->known && pos->tick == b->prev_tick) {
		v->loads[lane] = true;
		return;
	}
	v->ahead = true;
	if (!pos->known || pos->tick < b->prev_tick || pos->from > b->prev_tick || (c->newest && pos->tick > c->newest) ||
	    (b->tick && pos->tick < b->tick && c->single))
		lose(c, v, lane);
	else if (b->tick && pos->tick < b->tick && v->tick < pos->tick)
		v->tick = pos->tick;
}

size_t judge_lanes(const struct position *pos)
{
	return pos->known && pos->lanes > 1 && pos->lanes <= LANES_MAX ? (size_t)pos->lanes : 1;
}

bool judge_is_at_end(const struct judge_case *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->pos[i].known && c->pos[i].tick != c->batch->prev_tick && c->pos[i].tick != c->batch->tick)
			return false;
	return true;
}

bool judge_stops(const struct verdict *v)
{
	return v->kind >= VERDICT_LOST;
}

struct verdict judge_position(const struct judge_case *c)
{
	struct verdict v = { .kind = VERDICT_LOAD };

	if (!c->pos[0].known) {
		v.loads[0] = true;
		return v;
	}
	if (c->pos[0].lanes < 1 || c->pos[0].lanes > LANES_MAX)
		say(&v, VERDICT_LOST, "pgq_ext on the target says that consumer %s has %" PRId64 " lanes: --reset forgets them",
			c->conf->consumer_name, c->pos[0].lanes);
	if (v.kind == VERDICT_LOAD)
		judge_consumer(c, &v);
	for (size_t i = 1; i < c->n && v.loads[0] && v.kind == VERDICT_LOAD; i++)
		judge_other(c, &v, i);
	if (v.kind == VERDICT_LOAD && v.tick)   /* tick by tick, until all lanes are there */
		say(&v, VERDICT_SINGLE, "batch %" PRId64 " is in a part of the target up to tick %" PRId64 " of %" PRId64,
			c->batch->id, v.tick, c->batch->tick);
	else if (v.kind == VERDICT_LOAD && v.ahead && c->batch->tick)
		say(&v, VERDICT_LOAD, "batch %" PRId64 " is in a part of the target already", c->batch->id);
	if (v.kind == VERDICT_MOVE)
		v.tick = c->pos[0].tick;
	return v;
}
