/*
 * The switches that do one thing and exit. Each says what it did in one line on standard output.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ops.h"

static int open_source(struct job *j, struct err *e)
{
	if (!j->src)
		j->src = checkfrom_alone(j->conf) ? pq_open("src_db", j->conf->src_db, NULL, e) :
			queue_open(j->conf, NULL, e);
	return j->src ? conf_fits(j->conf, pq_server(j->src)->encoding, e) : e->code;
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
	return queue_require(state, NULL, e);
}

static int target_kind(struct job *j, struct err *e)
{
	return position_kind(j->dst[0], &j->kind, e) < 0 ? e->code : position_require(j->kind, e);
}

/* Refuses if the target has a tick: a new registration would start at the newest one. */
static int register_consumer(struct job *j, struct queue_state *state, struct err *e)
{
	const struct conf *c = j->conf;
	bool known = false;
	int64_t tick;

	if (queue_require(state, c->queue_name, e) < 0)
		return e->code;
	if (!state->consumer && position_kind(j->dst[0], &j->kind,
		e) == 0 && j->kind != POSITION_NONE)
		position_get(j->dst[0], c->consumer_name, &known, &tick, e);
	if (known && consumer_unregistered(j->src, c, tick, e) == 0)
		state->consumer = true;
	if (e->code || (!state->consumer &&
	    consumer_register(j->src, c->queue_name, c->consumer_name, e) < 0))
		return e->code;
	print_line(stdout, "consumer %s %s on queue %s\n", c->consumer_name,
		state->consumer ? "was registered already" : "registered", c->queue_name);
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
	if (state.consumer && consumer_unregister(j->src, c->queue_name, c->consumer_name, e) < 0)
		return e->code;
	print_line(stdout, "consumer %s %s queue %s\n", c->consumer_name,
		state.consumer ? "unregistered from" : "was not registered on", c->queue_name);
	return 0;
}

/* In the open transaction that holds the lock: the target's tick number must still mean the same
 * tick of the queue. */
static int check_tick(struct job *j, const struct queue_state *state, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_batch none = { .prev_tick = state->consumer_tick };
	struct position pos[LANES_MAX];
	struct judge_case judged = { .conf = c, .batch = &none, .pos = pos };

	if (position_look(j->dst[0], c->consumer_name, j->kind, pos, &judged.n, e) < 0 ||
	    queue_times(j->src, c->queue_name, pos, judged.n, &judged.newest, e) < 0)
		return e->code;
	struct verdict v = judge_position(&judged);
	if (v.kind != VERDICT_OTHER) {
		none.prev_tick = pos[0].tick;   /* where the queue will be */
		v = judge_position(&judged);
	}
	return v.kind == VERDICT_OTHER || v.kind == VERDICT_LEFT ?
		err_set(e, ERR_POSITION, "%s", v.words) : 0;
}

int admin_rewind(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state;
	struct position pos;

	if (open_source(j, e) < 0 || source_state(j, &state, e) < 0 ||
	    queue_require(&state, c->queue_name, e) < 0 || open_target(j, e) < 0 || target_kind(j,
		e) < 0 ||
	    job_check_name(c, j->src, j->dst[0], e) < 0 ||
	    position_begin(j->dst[0], c->consumer_name, 0, 1, j->kind, &pos, e) < 0)
		return e->code;
	if (!pos.known)
		return err_set(e, ERR_POSITION, "the target knows no position of consumer %s:"
			" there is nothing to rewind to", c->consumer_name);
	if (check_tick(j, &state, e) < 0 ||
	    consumer_rewind(j->src, c->queue_name, c->consumer_name, pos.tick, e) < 0 ||
	    pq_query(j->dst[0], "ROLLBACK", e) < 0)
		return e->code;
	print_line(stdout, "consumer %s on queue %s set to the target's tick %" PRId64 "\n",
		c->consumer_name, c->queue_name, pos.tick);
	return 0;
}

/* Refuses while only some lanes have a batch, which can be completed unless the position is
 * lost. */
static int refuse_half(struct job *j, struct err *e)
{
	struct queue_batch batch = { 0 };
	struct queue_state state;
	struct verdict v;

	if (open_source(j, e) < 0 || source_state(j, &state, e) < 0 || !state.consumer)
		return e->code;
	txn_look(j, j->dst[0], &batch, &v, e);
	qbatch_free(&batch);
	if (e->code)
		return e->code;
	if (v.kind == VERDICT_CHANGED)
		return err_set(e, ERR_POSITION, "%s; --reset would double its rows too", v.words);
	if (!v.stops)
		return err_set(e, ERR_POSITION, "a batch is in some of the lanes of consumer %s:"
			" after --reset their rows would come twice. Let a run finish it first"
			" (--once)", j->conf->consumer_name);
	return 0;
}

/* Refuses when the position may be that of a config for another queue. */
static int refuse_elsewhere(struct job *j, struct err *e)
{
	const struct conf *c = j->conf;
	struct queue_state state = { 0 };
	struct buf queues = { 0 };

	if (open_source(j, e) < 0 ||
	    queue_state(j->src, c->queue_name, c->consumer_name, &state, e) < 0 ||
	    (state.pgq &&
	     consumer_elsewhere(j->src, c->queue_name, c->consumer_name, &queues, e) < 0))
		err_add(e, "; --reset --yes does not ask src_db");
	else if (queues.len)
		err_set(e, ERR_POSITION, "consumer %s is registered on queue %s: the target's"
			" position may be that of another config, which would be lost. Give this"
			" one a job_name of its own; --reset --yes forgets the position all the"
			" same", c->consumer_name, buf_cstr(&queues));
	buf_free(&queues);
	return e->code;
}

static bool is_ahead(const struct position *pos, size_t lane)
{
	return pos[lane].known && pos[lane].tick > pos[0].tick;
}

/* Is somebody there, and says no? */
static bool is_refused(const struct job *j, const struct position *pos)
{
	char answer[8] = "";

	if (!isatty(STDIN_FILENO))
		return false;
	print_line(stdout, "the target would forget tick %" PRId64 " of consumer %s: what queue %s"
		" gives again up to there comes twice. Forget it? (yes or no) ", pos->tick,
		j->conf->consumer_name, j->conf->queue_name);
	fflush(stdout);
	return !fgets(answer, sizeof answer, stdin) ||
		(strcmp(answer, "yes\n") != 0 && strcmp(answer, "y\n") != 0);
}

/* Of a table as the source. */
static int reset_marks(struct job *j, struct err *e)
{
	struct position ignored;
	int64_t n;

	if (position_begin(j->dst[0], j->conf->consumer_name, 0, 1, j->kind, &ignored, e) < 0 ||
	    mark_forget(j->dst[0], j->conf->consumer_name, &n, e) < 0 ||
	    pq_query(j->dst[0], "COMMIT", e) < 0)
		return e->code;
	if (n || j->conf->from_table)
		print_line(stdout, "the target forgot how far the copies of consumer %s are, of %"
			PRId64 " table%s%s\n", j->conf->consumer_name, n, text_s(n),
			n ? ": what is copied again comes twice, unless dest_table is emptied" :
			"");
	return 0;
}

int admin_reset(struct job *j, bool yes, struct err *e)
{
	const char *consumer = j->conf->consumer_name;
	struct position pos[LANES_MAX];
	bool from = j->conf->from_table;
	size_t n, ahead = 0;

	if (open_target(j, e) < 0 || target_kind(j, e) < 0 ||
	    job_check_name(j->conf, NULL, j->dst[0], e) < 0 ||
	    (from && reset_marks(j, e) < 0) ||
	    position_look(j->dst[0], consumer, j->kind, pos, &n, e) < 0)
		return e->code;
	if (!pos[0].known) {
		if (!from)
			print_line(stdout, "the target knew no position of consumer %s\n",
				consumer);
		return from ? 0 : reset_marks(j, e);
	}
	for (size_t i = 1; i < n; i++)
		ahead += is_ahead(pos, i);
	if (ahead && refuse_half(j, e) < 0)
		return e->code;
	if (!yes && refuse_elsewhere(j, e) < 0)
		return e->code;
	if (!yes && is_refused(j, pos)) {
		print_line(stdout, "nothing is changed\n");
		return 1;
	}
	int64_t tick;           /* a running process may have moved it since */
	if (position_forget(j->dst[0], consumer, j->kind, &tick, e) < 0)
		return e->code;
	print_line(stdout, "the target forgot tick %" PRId64 " of consumer %s: what the queue"
		" gives again up to there comes twice\n", tick, consumer);
	for (size_t i = 1; i < n; i++)
		if (is_ahead(pos, i))
			print_line(stdout, "lane %zu of %zu has all up to tick %" PRId64 ": rows"
				" of its partitions come twice up to there\n", i, n, pos[i].tick);
	return from ? 0 : reset_marks(j, e);
}

/* ---- --install */

/* Appends to a missing-privilege error what to do about it. */
static int lacking(struct pq *q, const char *what, int (*find)(struct rights *, struct pq *,
	struct err *),
	struct err *e)
{
	struct err ignored = { 0 };
	struct rights rights = { 0 };
	struct buf text = { 0 };

	if (!sqlstate_is(e->sqlstate, SQLSTATE_DENIED) || pq_query(q, "ROLLBACK", &ignored) < 0)
		return e->code;
	find(&rights, q, &ignored);
	finding_installer(&text, what, &rights);
	err_add(e, ": %s", buf_cstr(&text));
	rights_free(&rights);
	buf_free(&text);
	return e->code;
}

static int install_letters(struct pq *dst, struct err *e)
{
	struct buf added = { 0 };
	bool created = false;

	if (dead_install(dst, &created, &added, e) == 0) {
		if (!created && added.len)
			print_line(stdout, "table tdispatch.dead_letter in dst_db has got"
				" columns %s\n", buf_cstr(&added));
		else
			print_line(stdout, "table tdispatch.dead_letter %s dst_db\n",
				created ? "created in" : "was already in");
	}
	buf_free(&added);
	return e->code;
}

static int install_slice(struct pq *dst, struct err *e)
{
	bool created = false;

	if (dead_install_slice(dst, &created, e) == 0)
		print_line(stdout, "table tdispatch.slice %s dst_db\n",
			created ? "created in" : "was already in");
	return e->code;
}

static int install_target(struct job *j, struct err *e)
{
	struct pq *dst = j->dst[0];
	bool created = false;

	if (position_install(dst, &created, e) < 0)
		return e->code;
	print_line(stdout, "schema pgq_ext %s dst_db\n", created ? "created in" : "was already in");
	if (j->conf->on_error == ON_ERROR_DEAD_LETTER && install_letters(dst, e) < 0)
		return e->code;
	return j->conf->from_table ? install_slice(dst, e) : 0;
}

static int install_source(struct job *j, struct queue_state *state, struct err *e)
{
	const char *queue = j->conf->queue_name;

	if (!state->queue && queue_create(j->src, queue, e) < 0)
		return lacking(j->src, "src_db", rights_create_queue, e);
	print_line(stdout, "queue %s %s\n", queue, state->queue ? "was there already" : "created");
	state->queue = true;
	return register_consumer(j, state, e);
}

int admin_tick(struct job *j, struct err *e)
{
	int64_t tick;

	if (open_source(j, e) < 0 || ticker_run(j->conf, j->src, &tick, e) < 0)
		return e->code;
	print_line(stdout, "queue %s has tick %" PRId64 "\n", j->conf->queue_name, tick);
	return 0;
}

int admin_install(struct job *j, const char *role, struct err *e)
{
	struct queue_state state = { 0 };
	bool alone = checkfrom_alone(j->conf);

	if (open_source(j, e) < 0 || (!alone && source_state(j, &state, e) < 0) ||
	    open_target(j, e) < 0 || (role && grant_require(j, role, e) < 0))
		return e->code;
	if ((!alone && job_check_name(j->conf, j->src, j->dst[0], e) < 0) ||
	    install_target(j, e) < 0)
		return lacking(j->dst[0], "dst_db", rights_create_schema, e);
	if (!alone && install_source(j, &state, e) < 0)
		return e->code;
	return role ? grant_give(j, role, e) : grant_say(j, e);
}

/* ---- --show-partitions */

int admin_partitions(struct job *j, struct err *e)
{
	bool by_name = false;

	for (size_t i = 0; i < j->conf->nrule; i++)
		by_name |= j->conf->rule[i].by_name;
	if (by_name && ((checkfrom_alone(j->conf) ? open_source : job_source)(j, e) < 0 ||
	    checksource_meet(j, NULL, e) < 0))
		return e->code;
	return show_partitions(j, e);
}
