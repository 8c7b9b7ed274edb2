/*
 * A job's connections to both servers, and what is checked once when they are new.
 *
 * The lanes are the connections to the target that load a batch in parallel. A partition belongs to
 * one lane, by a hash of its name: the name read as a decimal number, letters too, so that
 * consecutive days are spread evenly, however few.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* ---- connections */

int job_source(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;

	j->asked = false;
	j->src = queue_open(c, NULL, e);
	if (!j->src || conf_fits(c, pq_server(j->src)->encoding, e) < 0)
		return e->code;
	return style_ask(j->src, c, &j->style, e);
}

int job_unask(struct job *j, struct err *e)
{
	bool asked = j->asked;

	if (j->unsure)
		return err_set(e, ERR_CONFLICT, "the queue has not given the batch yet");
	j->asked = false;
	return asked ? events_drop(j->src, e) : e->code;
}

int job_open_lanes(struct job *j, size_t n, struct err *e)
{
	for (size_t i = 0; i < n && !e->code; i++)
		style_open(&j->dst[i], j->conf, &j->style, e);
	return e->code;
}

void job_close_lanes(struct job *j)
{
	for (size_t i = 0; i < LANES_MAX; i++) {
		pq_close(j->dst[i]);
		j->dst[i] = NULL;
	}
}

size_t job_lane_of(const struct job *j, struct span partition)
{
	uint64_t number = 0;

	for (size_t i = 0; i < partition.n; i++)
		number = 10 * number + (unsigned char)partition.p[i];
	assert(j->lanes >= 1 && j->lanes <= LANES_MAX);
	return number % j->lanes;
}

void job_disconnect(struct job *j)
{
	pq_close(j->src);
	pq_close(j->ddl);
	j->src = j->ddl = NULL;
	j->looked = false;
	job_close_lanes(j);
}

void job_free(struct job *j)
{
	job_disconnect(j);
	j->single_until = 0;
	dests_free(&j->dests);
	mark_seen_clear(&j->seen);
	j->clocks = (struct clocks){ 0 };
	j->style = (struct style){ 0 };
}

/* ---- the consumer's registration and position */

int job_judge(struct job *j, struct judge_case *c, struct position *pos, struct verdict *v,
	struct err *e)
{
	if (judge_needs_times(c) && (job_unask(j, e) < 0 ||
	    queue_times(j->src, j->conf->queue_name, pos, c->n, &c->newest, e) < 0))
		return e->code;
	*v = judge_position(c);
	return 0;
}

/* Stores the times of ticks that another program has stored without, where both sides are at the
 * same tick. */
static int complete_positions(struct job *j, const struct judge_case *c, struct err *e)
{
	const char *consumer = j->conf->consumer_name;

	for (size_t i = 0; i < c->n && j->kind == POSITION_LANES && !e->code; i++) {
		const struct position *pos = &c->pos[i];
		if (!pos->known || pos->time_us || pos->source_us <= 0 ||
		    pos->tick != c->batch->prev_tick)
			continue;
		if (position_complete(j->dst[0], consumer, i, c->n, pos, e) == ERR_CONFLICT) {
			*e = (struct err){ 0 }; /* another process loads, and stores the time */
			pq_query(j->dst[0], "ROLLBACK", e);
		}
	}
	return e->code;
}

/* Fails if a run could not continue at the target's position. Does not wait for a batch, since the
 * queue may be empty for long. */
static int check_position(struct job *j, const struct queue_state *state, struct position *pos,
	size_t n, struct err *e)
{
	const struct queue_batch none = { .prev_tick = state->consumer_tick };
	struct judge_case c = { .conf = j->conf, .batch = &none, .pos = pos, .n = n };
	struct verdict v;

	if (job_judge(j, &c, pos, &v, e) < 0)
		return e->code;
	if (v.stops)
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
	const char *knows = !known ? "the queue knows" :
		!state.consumer ? "the target knows" : "queue and target know";
	return err_set(e, ERR_CONF, "%s: neither job_name nor consumer_name is set: is the"
		" consumer %s, as in table_dispatcher 2.1, or %s, by the file's name, which %s?"
		" Add job_name = %s to go on as the latter,"
		" or job_name = " VALUES_OLD_SECTION " as the former",
		c->file, c->consumer_name, c->base_consumer, knows, c->base_name);
}

/* Registers a consumer that neither side knows. One that the target knows must not be registered:
 * it would start at the newest tick. */
static int check_registration(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	struct position pos[LANES_MAX];
	size_t n;

	/* the queue before the target: a process that loads moves it last */
	if (queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 ||
	    position_kind(j->dst[0], &j->kind, e) < 0)
		return e->code;
	if (queue_require(&state, c->queue_name, e) < 0 || position_require(j->kind, e) < 0)
		return e->code;
	if (job_check_name(c, j->src, j->dst[0], e) < 0 ||
	    position_look(j->dst[0], c->consumer_name, j->kind, pos, &n, e) < 0)
		return e->code;
	j->stored_lanes = pos[0].known ? judge_lanes(&pos[0]) : 0;
	if (state.consumer)
		return check_position(j, &state, pos, n, e);
	if (pos[0].known)
		return consumer_unregistered(j->src, c, pos[0].tick, e) < 0 ? e->code :
			check_registration(j, e);
	log_warn("consumer %s was not registered on queue %s: it is now, and gets what comes"
		" from now on", c->consumer_name, c->queue_name);
	return consumer_register(j->src, c->queue_name, c->consumer_name, e);
}

/* ---- everything that a run needs */

static bool has_star(const struct dests *ds, const struct place *k)
{
	for (size_t i = 0; i < ds->nway; i++)
		if (ds->way[i]->place == k && ds->way[i]->dest->all)
			return true;
	return false;
}

int job_ask_generated(struct place *k, struct pq *dst, struct err *e)
{
	tally_clear(&k->generated);
	k->asked = table_generated(dst, k->dest, &k->generated, e) == 0;
	return e->code;
}

/* A zone's ask. */
static int ask_midnights(void *arg, struct zone_bound *bound, size_t n, struct err *e)
{
	struct job *j = arg;

	if (style_open(&j->ddl, j->conf, &j->style, e) < 0)
		return e->code;
	return style_ask_midnights(j->ddl, j->conf->zone, bound, n, e);
}

void job_open_zone(struct job *j)
{
	j->conf->zone->ask = ask_midnights;
	j->conf->zone->arg = j;
}

int job_ask_references(struct place *k, struct pq *dst, struct err *e)
{
	const struct table_name table = { .name = k->dest->table };

	return k->dest->row_mode != ROWS_KEEP_LATEST ? 0 :
		constraint_referenced(dst, k->dest, &table, 1, e);
}

int job_leave_out(struct job *j, struct pq *dst, struct err *e)
{
	job_open_zone(j);
	dests_open(&j->dests, j->conf, &j->style);
	for (size_t i = 0; i < j->dests.nplace && !e->code; i++)
		if (job_ask_references(j->dests.place[i], dst, e) == 0 &&
		    has_star(&j->dests, j->dests.place[i]))
			job_ask_generated(j->dests.place[i], dst, e);
	return e->code;
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
