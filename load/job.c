/*
 * The job's connections to both servers, and what is asked once when they are new.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

void job_disconnect(struct job *j)
{
	pq_close(j->src);
	pq_close(j->ddl);
	j->src = j->ddl = NULL;
	lanes_close(j);
	if (j->sink)
		sink_discard(j->sink);
}

void job_free(struct job *j)
{
	job_disconnect(j);
	j->to_finish = j->last_tick = j->single_until = 0;
	free(j->encoding);
	route_free(j->route);
	sink_free(j->sink);
	retain_free(&j->retain);
	j->encoding = NULL;
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
	free(j->encoding);
	j->encoding = mem_str(pq_server_encoding(j->src), strlen(pq_server_encoding(j->src)));
	return 0;
}

int job_connect(struct job *j, struct err *e)
{
	if (j->src && j->dst[0])
		return 0;
	job_disconnect(j);
	if (job_source(j, e) < 0 || lanes_open(j, 1, e) < 0 || check_registration(j, e) < 0)
		return e->code;
	return j->conf->error == ON_ERROR_DEAD_LETTER ? dead_require(j->dst[0], e) : 0;
}
