/*
 * What --check finds out about a table as the source: is it there, can its rows be read, and what
 * do they have. Changes nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "ops.h"

bool checkfrom_alone(const struct conf *c)
{
	return c->from_table && !*c->queue_name;
}

/* As origin_find. *there: no error either if it is not, or cannot be looked at. */
static int find(struct job *j, struct origin *s, bool *there, struct err *e)
{
	*there = j->src && origin_find(j->src, j->conf, s, e) == 0;
	if (e->code == ERR_SHAPE || sqlstate_is(e->sqlstate, SQLSTATE_DENIED))
		*e = (struct err){ 0 };
	return e->code;
}

int checkfrom_meet(struct job *j, struct findings *found, struct err *e)
{
	struct origin s = { 0 };
	bool there;

	if (find(j, &s, &there, e) == 0 && there) {
		const struct event ev = origin_event(&s);
		const struct source *source = dests_source(&j->dests, j->conf, &ev);
		if (source->why && found)
			finding_wrong(found, "%s", source->why);
	}
	origin_free(&s);
	return e->code;
}

int checkfrom_feed(struct job *j, struct feed *feed, struct err *e)
{
	struct origin s = { 0 };
	bool there;

	if (find(j, &s, &there, e) == 0 && there) {
		const char *key = strchr(s.ev_type, ':') + 1;
		feed->known = feed->backup = true;
		feed->one_key = *key;
		feed->no_key = !*key;
		buf_str(&feed->key, key);
		buf_cstr(&feed->key);           /* read as a string elsewhere */
		for (size_t i = 0; i < s.ncolumn; i++)
			tally_add(&feed->columns, s.column[i].p, 0);
	}
	origin_free(&s);
	return e->code;
}

void checkfrom_run(struct findings *found, struct pq *src, const struct conf *c)
{
	struct origin s = { 0 };
	struct err e = { 0 }, ignored = { 0 };
	int64_t bytes = 0;

	if (origin_find(src, c, &s, &e) < 0 || origin_check(src, c, &s, &e) < 0) {
		finding_error(found, &e, "from_table in src_db");
		pq_query(src, "ROLLBACK", &ignored);
	} else {
		for (size_t i = 0; i < s.n; i++)
			bytes += s.table[i].bytes;
		finding_ok("from_table %s in src_db: %zu table%s with rows, %" PRId64 " MB", s.name,
			s.n, text_s((int64_t)s.n), bytes >> 20);
	}
	origin_free(&s);
}
