/*
 * --check: connects to both databases and prints what exists and what is missing, one line each,
 * with what to do about it, and at last whether a run is ready. Changes nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ops.h"

struct check {
	struct job *job;
	bool registered;                /* PgQ, the queue and the consumer exist, */
	bool unregistered;              /* or all but the consumer do */
	int64_t consumer_tick;          /* the queue's; 0: not known */
	struct style style;             /* of the source */
	bool fed;                       /* the source can say which triggers feed the queue */
	bool blind;                     /* rights on the source are lacking */
	struct rights rights;           /* that are lacking on a server */
	struct findings *found;
};

static void check_rights(struct check *c, const char *what, int rc, const struct err *e)
{
	if (rc < 0)
		finding_missing(c->found, "%s", e->msg);
	finding_rights(c->found, what, &c->rights);
}

/* Reports a missing thing that --install creates. rights: finds those that it needs. */
static void lacks(struct check *c, const char *what, struct pq *q,
	int (*find)(struct rights *, struct pq *, struct err *), const char *thing)
{
	struct rights rights = { 0 };
	struct buf text = { 0 };
	struct err e = { 0 };

	if (find(&rights, q, &e) == 0 && rights.n == 0)
		buf_str(&text, "create it with --install");
	else
		finding_installer(&text, what, &rights);
	finding_missing(c->found, "%s%s", thing, buf_cstr(&text));
	rights_free(&rights);
	buf_free(&text);
}

/* ---- the source */

/* With ticker = 1: may our role tick, and does another? */
static void check_ticker(struct check *c, const char *queue)
{
	struct ticker_look look;
	struct err e = { 0 };

	if (ticker_look(c->job->src, queue, &look, &e) < 0)
		finding_error(c->found, &e, "the ticker");
	else if (look.paused)
		finding_warning("queue %s takes no ticks: its ticker is paused or external", queue);
	else if (look.pgqd)
		finding_warning("ticker = 1, and pgqd ticks src_db too: tdispatch stands by while"
			" it does. One of them is enough");
	else
		finding_ok("ticker = 1: a run makes the ticks of queue %s. Let no other ticker run"
			" beside it (pgqd, a cron job that calls %s.ticker)", queue,
			queue_schema(c->job->src));
}

/* Has the ticker stopped, by the rule of --status? A role that may not ask can run all the same. */
static void check_ticks(struct check *c, const struct queue_state *state)
{
	const char *queue = c->job->conf->queue_name, *consumer = c->job->conf->consumer_name;
	struct queue_backlog backlog;
	struct err e = { 0 }, ignored = { 0 };
	struct buf line = { 0 };

	if (c->job->conf->ticker)
		check_ticker(c, queue);
	else if (!state->last_tick)
		finding_warning("queue %s has no tick yet: does a ticker run (ticker = 1, pgqd"
			" or pg_cron)?", queue);
	else if (queue_backlog(c->job->src, queue, consumer, -1, &backlog, &e) < 0)
		pq_query(c->job->src, "ROLLBACK", &ignored);
	else if (health_no_ticks(&backlog, "no tick for ", &line))
		finding_warning("queue %s: %s", queue, buf_cstr(&line));
	buf_free(&line);
}

/* The queue and its consumer. */
static void check_queue(struct check *c, const struct queue_state *state)
{
	const struct conf *conf = c->job->conf;
	struct buf queue = { 0 };

	if (!state->queue) {
		buf_fmt(&queue, "queue %s: check queue_name, or ", conf->queue_name);
		lacks(c, "src_db", c->job->src, rights_create_queue, buf_cstr(&queue));
		buf_free(&queue);
		return;
	}
	finding_ok("queue %s", conf->queue_name);
	c->unregistered = !state->consumer;
	c->registered = state->consumer;
	c->consumer_tick = state->consumer_tick;
	if (state->consumer)
		finding_ok("consumer %s is registered", conf->consumer_name);
	check_ticks(c, state);
}

/* A table alone. Its values are written by our settings. */
static void check_from(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct pq *src = c->job->src;
	struct err e = { 0 };

	check_rights(c, "src_db", rights_source(&c->rights, src, conf, NULL, &e), &e);
	c->blind = c->found->lacking;
	if (e.code)
		return;
	if (conf_fits(conf, pq_server(src)->encoding, &e) < 0 ||
	    style_ask(src, conf, &c->style, &e) < 0)
		finding_missing(c->found, "%s", e.msg);
	checkfrom_run(c->found, src, conf);
	c->fed = !c->blind;
}

static void check_source(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct pq *src = c->job->src;
	struct queue_state state = { 0 };
	struct err e = { 0 }, ignored = { 0 };

	if (queue_find(src, conf, &e) < 0) {
		finding_missing(c->found, "%s", e.msg);
		return;
	}
	check_rights(c, "src_db", rights_source(&c->rights, src, conf, NULL, &e), &e);
	c->blind = c->found->lacking;
	if (e.code)
		return;
	if (conf_fits(conf, pq_server(src)->encoding, &e) < 0 ||
	    queue_state(src, conf->queue_name, conf->consumer_name, &state, &e) < 0) {
		finding_error(c->found, &e, "queue and consumer in src_db");
		pq_query(src, "ROLLBACK", &ignored);
	} else if (queue_require(&state, NULL, &e) < 0) {
		finding_missing(c->found, "%s", e.msg);
		return;
	} else {
		finding_ok("src_db: PgQ is installed%s", strcmp(queue_schema(src), "pgq") == 0 ?
			"" : ", as PgQue");
		check_queue(c, &state);
	}
	if (!e.code ? state.queue : sqlstate_is(e.sqlstate, SQLSTATE_DENIED))
		c->fed = true;
	if (c->fed)
		checksource_run(c->found, src, conf, &c->style);
	if (conf->from_table)
		checkfrom_run(c->found, src, conf);
}

static void check_letter_columns(struct check *c)
{
	struct err e = { 0 };
	struct buf columns = { 0 };

	if (dead_lacks(c->job->dst[0], &columns, &e) < 0)
		finding_missing(c->found, "%s", e.msg);
	else if (columns.len)
		finding_warning("table tdispatch.dead_letter in dst_db is of an earlier version and"
			" keeps no %s: --install adds them", buf_cstr(&columns));
	else
		finding_ok("table tdispatch.dead_letter in dst_db");
	buf_free(&columns);
}

static void check_dead_letter(struct check *c)
{
	struct pq *dst = c->job->dst[0];
	struct err e = { 0 };

	if (dead_require(dst, &e) == 0)
		check_letter_columns(c);
	else if (*e.sqlstate || e.code == ERR_RIGHTS)
		finding_error(c->found, &e, "table tdispatch.dead_letter in dst_db");
	else
		lacks(c, "dst_db", dst, rights_create_schema, "table tdispatch.dead_letter in"
			" dst_db: ");
}

static void check_slice(struct check *c)
{
	struct pq *dst = c->job->dst[0];
	struct err e = { 0 };

	if (mark_require(dst, &e) == 0)
		finding_ok("table tdispatch.slice in dst_db");
	else if (*e.sqlstate || e.code == ERR_RIGHTS)
		finding_error(c->found, &e, "table tdispatch.slice in dst_db");
	else
		lacks(c, "dst_db", dst, rights_create_schema, "table tdispatch.slice in dst_db: ");
}

/* Why the next batch could not be asked for. */
static void tell_no_look(struct check *c, const struct err *e)
{
	struct err ignored = { 0 };

	pq_query(c->job->src, "ROLLBACK", &ignored);
	if (e->code == ERR_CONFLICT)
		finding_ok("%s", e->msg);
	else if (c->blind && sqlstate_is(e->sqlstate, SQLSTATE_DENIED))
		finding_warning("the next batch cannot be looked at without the rights above");
	else
		finding_missing(c->found, "%s", e->msg);
}

static void check_tick(struct check *c, int64_t tick)
{
	struct queue_batch batch = { 0 };
	struct err e = { 0 };
	struct verdict v;

	finding_ok("the target has loaded consumer %s up to tick %" PRId64,
		c->job->conf->consumer_name, tick);
	if (!c->registered)
		return;
	if (txn_look(c->job, c->job->dst[0], &batch, &v, &e) < 0)
		tell_no_look(c, &e);
	else if (v.stops)
		finding_wrong(c->found, "%s", v.words);
	else if (*v.words)
		finding_ok("%s", v.words);
	qbatch_free(&batch);
}

/* With the target's pgq_ext of that kind, and a position or none. */
static void check_known(struct check *c, bool known, int64_t tick)
{
	const struct conf *conf = c->job->conf;
	struct err e = { 0 };

	finding_ok("pgq_ext in dst_db");
	if (c->job->kind != POSITION_LANES)
		finding_warning("pgq_ext in dst_db knows no subconsumers: of a tick its number"
			" alone is kept, so that a source that is set back, to a backup or by a"
			" failover, may not be noticed");
	if (conf->lanes > 1 && c->job->kind != POSITION_LANES)
		finding_missing(c->found, "subconsumers in pgq_ext, which lanes needs: set lanes ="
			" 1");
	if (known && c->unregistered && consumer_unregistered(c->job->src, conf, tick, &e) == 0)
		c->registered = true;
	if (e.code)
		finding_missing(c->found, "%s", e.msg);
	else if (known)
		check_tick(c, tick);
	else if (c->registered && c->consumer_tick > 1)
		finding_warning("the queue is at tick %" PRId64 ", the target knows none: what came"
			" before is not there", c->consumer_tick);
}

/* A new name for an old consumer leaves what is pending behind. */
static void tell_unregistered(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct buf others = { 0 };
	struct err e = { 0 };

	if (consumer_others(c->job->src, conf->queue_name, conf->consumer_name, &others, &e) < 0)
		finding_missing(c->found, "%s", e.msg);
	finding_warning("consumer %s is not registered: it will be at start, with --register or"
		" with --install, and gets what comes from then on%s%s", conf->consumer_name,
		others.len ? ". If another of the queue's is meant, name it in consumer_name: " :
		"", buf_cstr(&others));
	buf_free(&others);
}

static void check_position(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct pq *dst = c->job->dst[0];
	struct err e = { 0 };
	bool known = false;
	int64_t tick = 0;

	if (position_kind(dst, &c->job->kind, &e) == 0 && c->job->kind == POSITION_NONE)
		lacks(c, "dst_db", dst, rights_create_schema, "pgq_ext in dst_db: ");
	else if (!e.code && checkfrom_alone(conf))
		check_known(c, false, 0);
	else if (e.code || position_get(dst, conf->consumer_name, &known, &tick, &e) < 0)
		finding_error(c->found, &e, "the position in dst_db");
	else
		check_known(c, known, tick);
	if (c->unregistered && !known && !e.code)
		tell_unregistered(c);
}

/* Which tables part_keep may have detached depends on the time. No further connection is opened. */
static void look_at_clocks(struct check *c)
{
	struct job *j = c->job;
	struct err e = { 0 };

	if (!conf_keeps(j->conf))
		return;
	j->ddl = j->dst[0];
	if (age_look(j, &e) < 0)
		finding_missing(c->found, "%s", e.msg);
	j->ddl = NULL;
}

/* Fills what is known of the events that go that way. */
static void feed_of(struct check *c, const struct way *way, struct feed *feed)
{
	struct err e = { 0 };

	if (c->fed && checksource_feed(c->job, way, feed, &e) < 0)
		finding_missing(c->found, "%s", e.msg);
}

/* For all destinations together: most of what one needs the others need too. */
static void check_target_rights(struct check *c)
{
	const struct dests *ds = &c->job->dests;
	struct err e = { 0 };

	for (size_t i = 0; i < ds->nway && !e.code; i++) {
		struct feed feed = { 0 };
		feed_of(c, ds->way[i], &feed);
		rights_target(&c->rights, c->job->dst[0], c->job->conf, ds->way[i]->dest, &feed,
			NULL, &e);
		checksource_free(&feed);
	}
	check_rights(c, "dst_db", e.code, &e);
}

static void check_dests(struct check *c)
{
	const struct dests *ds = &c->job->dests;

	for (size_t i = 0; i < ds->nway; i++) {
		struct feed feed = { 0 };
		feed_of(c, ds->way[i], &feed);
		checkdest_run(c->found, c->job, c->job->dst[0], ds->way[i]->dest, &c->style, &feed);
		checksource_free(&feed);
	}
}

static void meet_dests(struct check *c)
{
	struct err e = { 0 };

	if (checksource_meet(c->job, c->fed ? c->found : NULL, &e) < 0)
		finding_missing(c->found, "%s", e.msg);
}

static void check_zone(struct check *c)
{
	struct err e = { 0 };

	if (style_check_zone(c->job->dst[0], c->job->conf->zone, &e) == ERR_CONF)
		finding_wrong(c->found, "%s", e.msg);
	else if (e.code)
		finding_missing(c->found, "%s", e.msg);
}

static void check_target(struct check *c)
{
	const struct conf *conf = c->job->conf;
	struct pq *dst = c->job->dst[0];
	struct err name = { 0 };

	c->found->lacking = false;
	check_zone(c);
	meet_dests(c);
	check_target_rights(c);
	check_position(c);
	if (!checkfrom_alone(conf) && job_check_name(conf, c->job->src, dst, &name) == ERR_CONF)
		finding_wrong(c->found, "%s", name.msg);
	if (conf->on_error == ON_ERROR_DEAD_LETTER)
		check_dead_letter(c);
	if (conf->from_table)
		check_slice(c);
	look_at_clocks(c);
	check_dests(c);
}

int check_run(struct job *job)
{
	struct findings found = { 0 };
	struct check c = { .job = job, .found = &found };

	finding_ok("config %s", job->conf->file);
	checkfiles_run(&found, job->conf);
	job->src = checkserver_open(&found, "src_db", job->conf->src_db, NULL);
	/* names of the source's columns are looked for on the target, as a run sends them */
	job->dst[0] = checkserver_open(&found, "dst_db", job->conf->dst_db, job->src ?
		style_client_encoding(pq_server(job->src)->encoding) : NULL);
	checkserver_connections(&found, job->conf, job->src, job->dst[0]);
	if (job->src)
		(checkfrom_alone(job->conf) ? check_from : check_source)(&c);
	if (job->dst[0])
		check_target(&c);
	return finding_conclude(&found);
}
