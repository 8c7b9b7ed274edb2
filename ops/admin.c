/*
 * The switches that do one thing and exit. Each says what it did in one line on standard output.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops.h"

static int open_source(struct job *j, struct err *e)
{
	j->src = pq_open("src_db", j->conf->src_db, NULL, e);
	return j->src ? conf_fits(j->conf, pq_server_encoding(j->src), e) : e->code;
}

static int open_target(struct job *j, struct err *e)
{
	j->dst[0] = pq_open("dst_db", j->conf->dst_db, NULL, e);
	return e->code;
}

static int source_state(struct job *j, struct queue_state *state, struct err *e)
{
	const struct conf *c = j->conf;

	if (queue_state(j->src, c->queue_name, c->consumer_name, state, e) < 0)
		return e->code;
	return queue_require_pgq(state, e);
}

static int known_tick(struct job *j, bool *known, int64_t *tick, struct err *e)
{
	if (position_kind(j->dst[0], &j->kind, e) < 0)
		return e->code;
	if (position_require(j->kind, e) < 0)
		return e->code;
	return position_get(j->dst[0], j->conf->consumer_name, known, tick, e);
}

/* Not where the target knows a tick: the consumer would start at the newest one. */
static int register_consumer(struct job *j, const struct queue_state *state, struct err *e)
{
	const struct conf *c = j->conf;
	bool known = false;
	int64_t tick;

	if (queue_require(state, c->queue_name, e) < 0)
		return e->code;
	if (!state->consumer && position_kind(j->dst[0], &j->kind, e) == 0 && j->kind != POSITION_NONE)
		position_get(j->dst[0], c->consumer_name, &known, &tick, e);
	if (known)
		return position_unregistered(c, tick, e);
	if (e->code || (!state->consumer && queue_register(j->src, c->queue_name, c->consumer_name, e) < 0))
		return e->code;
	printf("consumer %s %s on queue %s\n", c->consumer_name, state->consumer ? "was registered already" : "registered",
		c->queue_name);
	return 0;
}

int admin_register(struct job *j, struct err *e)
{
	struct queue_state state;

	if (open_source(j, e) < 0 || source_state(j, &state, e) < 0 || open_target(j, e) < 0 ||
	    job_check_name(j->conf, j->src, j->dst[0], e) < 0)
		return e->code;
	return register_consumer(j, &state, e);
}

int admin_unregister(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;

	if (open_source(j, e) < 0 || source_state(j, &state, e) < 0 ||
	    queue_require(&state, c->queue_name, e) < 0 || job_check_name(c, j->src, NULL, e) < 0)
		return e->code;
	if (state.consumer && queue_unregister(j->src, c->queue_name, c->consumer_name, e) < 0)
		return e->code;
	printf("consumer %s %s queue %s\n", c->consumer_name, state.consumer ? "unregistered from" : "was not registered on",
		c->queue_name);
	return 0;
}

int admin_rewind(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	bool known;
	int64_t tick;

	if (open_source(j, e) < 0 || source_state(j, &state, e) < 0 || queue_require(&state, c->queue_name, e) < 0 ||
	    open_target(j, e) < 0 || known_tick(j, &known, &tick, e) < 0 ||
	    job_check_name(c, j->src, j->dst[0], e) < 0)
		return e->code;
	if (!known)
		return err_set(e, ERR_POSITION, "the target knows no position of consumer %s: there is nothing to rewind to",
			c->consumer_name);
	if (queue_rewind(j->src, c->queue_name, c->consumer_name, tick, e) < 0)
		return e->code;
	printf("consumer %s on queue %s set to the target's tick %" PRId64 "\n", c->consumer_name, c->queue_name, tick);
	return 0;
}

int admin_reset(struct job *j, struct err *e)
{
	bool known;
	int64_t tick;

	if (open_target(j, e) < 0 || known_tick(j, &known, &tick, e) < 0 ||
	    job_check_name(j->conf, NULL, j->dst[0], e) < 0)
		return e->code;
	if (!known) {
		printf("the target knew no position of consumer %s\n", j->conf->consumer_name);
		return 0;
	}
	if (position_forget(j->dst[0], j->conf->consumer_name, j->kind, e) < 0)
		return e->code;
	printf("the target forgot tick %" PRId64 " of consumer %s\n", tick, j->conf->consumer_name);
	return 0;
}

/* Adds to an error for want of a right what may be done about it. */
static int lacking(struct pq *q, const char *what, int (*grants)(struct pq *, struct err *), struct err *e)
{
	struct err ignored = { 0 };
	struct buf text = { 0 };

	if (strcmp(e->sqlstate, "42501") != 0 || pq_query(q, "ROLLBACK", &ignored) < 0)
		return e->code;
	finding_admin(&text, what, q, grants(q, &ignored));
	err_add(e, ": %s", buf_cstr(&text));
	buf_free(&text);
	return e->code;
}

static int install_target(struct job *j, struct err *e)
{
	bool created = false;

	if (position_install(j->dst[0], &created, e) < 0)
		return e->code;
	printf("schema pgq_ext %s dst_db\n", created ? "created in" : "was already in");
	if (j->conf->on_error != ON_ERROR_DEAD_LETTER || dead_install(j->dst[0], &created, e) < 0)
		return e->code;
	printf("table tdispatch.dead_letter %s dst_db\n", created ? "created in" : "was already in");
	return 0;
}

int admin_install(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;

	if (open_source(j, e) < 0 || source_state(j, &state, e) < 0 || open_target(j, e) < 0)
		return e->code;
	if (job_check_name(c, j->src, j->dst[0], e) < 0 || install_target(j, e) < 0)
		return lacking(j->dst[0], "dst_db", position_install_grants, e);
	if (!state.queue && queue_create(j->src, c->queue_name, e) < 0)
		return lacking(j->src, "src_db", queue_create_grants, e);
	printf("queue %s %s\n", c->queue_name, state.queue ? "was there already" : "created");
	state.queue = true;
	return register_consumer(j, &state, e);
}
