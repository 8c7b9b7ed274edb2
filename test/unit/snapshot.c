/* Tests of snapshot.c: what becomes of PgQ's query, and which queries are left as they are. */
#include "../../base/buf.c"
#include "../../pg/snapshot.c"
#include "unit.h"

#define COLUMNS "select ev_id, ev_time, ev_txid, ev_retry, ev_type, ev_data, ev_extra1," \
	" ev_extra2, ev_extra3, ev_extra4 from "
#define OWNER " and (ev_owner is null or ev_owner = 4)"
/* PgQ's part for a table that it reads from `least` on, and the same between these snapshots. */
#define THEIRS(table, least, xmax) COLUMNS "pgq.tick cur, pgq.tick last, " table " ev  where" \
	" cur.tick_id = 12 and cur.tick_queue = 3 and last.tick_id = 11 and last.tick_queue = 3" \
	" and ev.ev_txid >= " least " and ev.ev_txid <= " xmax \
	" and txid_visible_in_snapshot(ev.ev_txid, cur.tick_snapshot)" \
	" and not txid_visible_in_snapshot(ev.ev_txid, last.tick_snapshot)" OWNER
#define OURS(table, tests) COLUMNS table " ev where " tests OWNER
#define ALONE " union all " COLUMNS "pgq.event_3_0 ev  where ev.ev_txid in (700,650)" OWNER
#define JOIN " union all "
#define END " order by 1"

static const struct { const char *name, *before, *after, *pgq, *wanted; } cases[] = {
	{ "nothing was open", "900:900:", "1000:1000:",
		THEIRS("pgq.event_3_0", "900", "1000") END,
		OURS("pgq.event_3_0", "ev.ev_txid >= 900 and ev.ev_txid < 1000") END },
	{ "open at the second tick", "900:900:", "890:1000:890,900,999",
		THEIRS("pgq.event_3_0", "900", "1000") END,
		OURS("pgq.event_3_0", "ev.ev_txid >= 900 and ev.ev_txid < 1000"
			" and ev.ev_txid <> all ('{900,999}'::int8[])") END },
	{ "open at the first tick", "880:900:880,890,899", "890:1000:890",
		THEIRS("pgq.event_3_0", "880", "1000") END,
		OURS("pgq.event_3_0", "ev.ev_txid >= 880 and ev.ev_txid < 1000"
			" and ev.ev_txid <> all ('{890}'::int8[]) and (ev.ev_txid >= 900"
			" or ev.ev_txid = any ('{880,890,899}'::int8[]))") END },
	{ "far behind, and in two tables", "650:900:650,700,890", "1000:1000:",
		THEIRS("pgq.event_3_2", "890", "1000") ALONE JOIN
		THEIRS("pgq.event_3_0", "890", "1000") ALONE END,
		OURS("pgq.event_3_2", "ev.ev_txid >= 890 and ev.ev_txid < 1000"
			" and (ev.ev_txid >= 900 or ev.ev_txid = any ('{890}'::int8[]))") ALONE JOIN
		OURS("pgq.event_3_0", "ev.ev_txid >= 890 and ev.ev_txid < 1000"
			" and (ev.ev_txid >= 900 or ev.ev_txid = any ('{890}'::int8[]))")
			ALONE END },
	{ "numbers of later epochs", "8589934592:8589934592:", "8589934600:8589934600:",
		THEIRS("pgq.event_3_0", "8589934592", "8589934600") END,
		OURS("pgq.event_3_0", "ev.ev_txid >= 8589934592 and ev.ev_txid < 8589934600") END },
	{ "the second snapshot is the first's elder", "900:1000:900,950", "890:950:890,900",
		THEIRS("pgq.event_3_0", "950", "950") END,
		OURS("pgq.event_3_0", "ev.ev_txid >= 950 and ev.ev_txid < 950"
			" and (ev.ev_txid >= 1000 or ev.ev_txid = any ('{950}'::int8[]))") END },

	{ "a snapshot is unknown", NULL, "1000:1000:", THEIRS("t", "900", "1000") END, NULL },
	{ "a snapshot of another kind", "900", "1000:1000:", THEIRS("t", "900", "1000") END, NULL },
	{ "another snapshot", "900:900:", "1001:1001:", THEIRS("t", "900", "1000") END, NULL },
	{ "PgQue's query", "900:900:", "1000:1000:", "select ev_id from pgque.event_3_0 ev where"
		" pg_visible_in_snapshot(ev_txid, '1000:1000:'::pg_snapshot)" END, NULL },
	{ "another condition", "900:900:", "1000:1000:",
		COLUMNS "pgq.tick cur, pgq.tick last, pgq.event_3_0 ev  where cur.tick_id = 12"
		" and cur.tick_queue = 3 and last.tick_id = 11 and last.tick_queue = 3"
		" and ev.ev_txid >= 900 and ev.ev_retry is null" END, NULL },
	{ "another queue", "900:900:", "1000:1000:",
		COLUMNS "pgq.tick cur, pgq.tick last, pgq.event_4_0 ev  where cur.tick_id = 12"
		" and cur.tick_queue = 4 and last.tick_id = 11 and last.tick_queue = 4"
		" and ev.ev_txid >= 900 and ev.ev_txid <= 1000"
		" and txid_visible_in_snapshot(ev.ev_txid, cur.tick_snapshot)"
		" and not txid_visible_in_snapshot(ev.ev_txid, last.tick_snapshot)" END, NULL },
	{ "the ticks once more", "900:900:", "1000:1000:", THEIRS("pgq.event_3_0", "900", "1000")
		" and ev_time < last.tick_time" END, NULL },
	{ "nothing", "900:900:", "1000:1000:", "", NULL },
};

/* Of the query for ticks 11 and 12, between which nothing was open. */
static const struct { const char *name, *pgq, *table; bool learns; } forms[] = {
	{ "the current table", THEIRS("pgq.event_3_0", "900", "1000") END, "pgq.event_3_0", true },
	{ "the table before", THEIRS("pgq.event_3_2", "900", "1000") END, "pgq.event_3_0", false },
	{ "a longer name", THEIRS("pgq.event_3_01", "900", "1000") END, "pgq.event_3_0", false },
	{ "two tables", THEIRS("pgq.event_3_0", "900", "1000") JOIN
		THEIRS("pgq.event_3_2", "900", "1000") END, "pgq.event_3_0", false },
	{ "transactions far behind", THEIRS("pgq.event_3_0", "900", "1000") ALONE END,
		"pgq.event_3_0", false },
	{ "another snapshot", THEIRS("pgq.event_3_0", "900", "1001") END, "pgq.event_3_0", false },
	{ "another query", COLUMNS "pgq.event_3_0 ev" END, "pgq.event_3_0", false },
	{ "nothing", "", "pgq.event_3_0", false },
};

/* What a form that was learned at a first tick with xmin 900 makes for others. */
static const struct { const char *name, *before, *after, *wanted; } fills[] = {
	{ "nothing was open", "1000:1000:", "1010:1010:",
		"ev.ev_txid >= 1000 and ev.ev_txid < 1010" },
	{ "open at the first tick", "950:1000:950,990", "1000:1010:",
		"ev.ev_txid >= 950 and ev.ev_txid < 1010 and (ev.ev_txid >= 1000"
		" or ev.ev_txid = any ('{950,990}'::int8[]))" },
	{ "open at both", "910:2000:910,1990", "910:2010:910,2005",
		"ev.ev_txid >= 1990 and ev.ev_txid < 2010"
		" and ev.ev_txid <> all ('{2005}'::int8[]) and (ev.ev_txid >= 2000"
		" or ev.ev_txid = any ('{1990}'::int8[]))" },
	{ "far behind", "910:2000:910", "2000:2010:", NULL },
	{ "the first tick is older", "899:1000:899", "1000:1010:", NULL },
	{ "a snapshot is unknown", "1000:1000:", NULL, NULL },
	{ "the other is unknown", NULL, "1000:1000:", NULL },
};

static struct snapshot_form learn_forms(void)
{
	const struct snapshot_ticks ticks = { 3, 11, 12, "900:900:", "1000:1000:" };
	struct snapshot_form f = { 0 };

	for (size_t i = COUNT(forms); i-- > 0;)
		check_int(forms[i].name, snapshot_learn(&f, forms[i].pgq, &ticks,
			span_of(forms[i].table)), forms[i].learns);
	return f;
}

static void fill_forms(struct snapshot_form *f)
{
	for (size_t i = 0; i < COUNT(fills); i++) {
		char *got = snapshot_fill(f, fills[i].before, fills[i].after);
		struct buf wanted = { 0 };
		if (fills[i].wanted)
			buf_fmt(&wanted, COLUMNS "pgq.event_3_0 ev where %s" OWNER END,
				fills[i].wanted);
		check_str(fills[i].name, got, fills[i].wanted ? buf_cstr(&wanted) : NULL);
		buf_free(&wanted);
		free(got);
	}
	snapshot_forget(f);
}

int main(void)
{
	struct snapshot_form form = learn_forms();

	fill_forms(&form);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct snapshot_ticks ticks = { 3, 11, 12, cases[i].before, cases[i].after };
		char *got = snapshot_query(cases[i].pgq, &ticks);
		check_str(cases[i].name, got, cases[i].wanted);
		free(got);
	}
	return unit_end();
}
