/*
 * Statements that the lanes run in their data transactions, all lanes at the same time.
 */
#include <stdlib.h>

#include "merge.h"

static void keep_rows(struct script *s, int64_t rows)
{
	s->rows = mem_grow(s->rows, s->done, &s->cap, sizeof *s->rows);
	s->rows[s->done++] = rows;
}

/* Takes the answers that have come. */
static void take_answers(struct script *s, struct pq *dst)
{
	int64_t rows;
	int step;

	while ((step = stage_step(dst, &rows, &s->e)) == PQ_READY)
		keep_rows(s, rows);
	s->open = step == PQ_WAIT;
}

/* The same of all lanes. false: all are over. */
static bool take_all(struct script *lane, const struct job *j)
{
	bool open = false;

	for (size_t i = 0; i < j->lanes; i++) {
		if (lane[i].open)
			take_answers(&lane[i], j->dst[i]);
		open |= lane[i].open;
	}
	return open;
}

int script_run(const struct pass *p, struct script *lane, struct err *e)
{
	struct job *j = p->job;

	for (size_t i = 0; i < j->lanes; i++) {
		struct script *s = &lane[i];
		s->done = 0;
		s->open = s->sql.len && stage_send(j->dst[i], buf_cstr(&s->sql), &s->e) == 0;
		s->sql.len = 0;
	}
	while (take_all(lane, j)) {
		int64_t most_ms = watch_pass(j->watch, p->events, sink_bytes(p->sink));
		if (pq_wait(j->dst, j->lanes, most_ms, e) < 0)
			return e->code;
	}
	return 0;
}

int script_error(const struct script *lane, size_t lanes, bool rows_too, struct err *e)
{
	for (size_t i = 0; i < lanes && !e->code; i++)
		if (lane[i].e.code && (rows_too || lane[i].e.code != ERR_DATA))
			*e = lane[i].e;
	return e->code;
}

int script_run_all(const struct pass *p, struct script *lane, struct err *e)
{
	return script_run(p, lane, e) < 0 ? e->code : script_error(lane, p->job->lanes, true, e);
}

void script_free(struct script *s)
{
	buf_free(&s->sql);
	free(s->rows);
}
