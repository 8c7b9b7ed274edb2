/*
 * What the text of a value means. A producer's session prints it by its own DateStyle,
 * IntervalStyle, TimeZone and lc_monetary, in the encoding of its database; the target's settings
 * may be different. So the data transaction sets those of the target: a text means there what it
 * means on the source, or it is refused.
 *
 * DateStyle = ISO, YMD: a date in SQL, German or Postgres style is refused where day and month
 * could be swapped, except in years below 32, which look like days.
 * IntervalStyle = sql_standard: it reads all four styles as they were meant; it alone applies a
 * leading minus to all fields, which is how it prints negative intervals.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pq.h"

/* ---- the source */

static void keep(char *out, size_t size, const char *value)
{
	snprintf(out, size, "%s", value ? value : "");
}

/* PgQ's triggers percent-encode the bytes of the database's encoding if they are written in C, and
 * UTF8 if they are written in PL/pgSQL. Then client_encoding makes the other columns UTF8 too. */
static int write_utf8(struct pq *src, struct style *style, struct err *e)
{
	keep(style->encoding, sizeof style->encoding, "UTF8");
	return pq_query(src, "SET client_encoding TO 'UTF8'", e);
}

/* A time without an offset is in part_timezone, which also decides its partition. The server takes
 * an offset as POSIX writes it, west of UTC. */
static void set_zone(struct style *style, int east_s)
{
	int s = east_s < 0 ? -east_s : east_s;
	int hours = s / 3600, minutes = s / 60 % 60;

	if (east_s)
		snprintf(style->zone, sizeof style->zone, "<%c%02d%02d>%c%02d:%02d:%02d",
			east_s < 0 ? '-' : '+', hours, minutes,
			east_s < 0 ? '+' : '-', hours, minutes, s % 60);
	else
		keep(style->zone, sizeof style->zone, "UTC");
}

/* Also whether PgQ's triggers write UTF8. */
static const char ask_sql[] = PQ_OWN_PATH
	"SELECT current_setting('DateStyle'), current_setting('IntervalStyle'),"
	" current_setting('TimeZone'), current_setting('lc_monetary'),"
	" EXISTS (SELECT 1 FROM pg_proc p"
	" JOIN pg_namespace n ON n.oid = pronamespace"
	" JOIN pg_language l ON l.oid = prolang"
	" WHERE proname = 'logutriga' AND lanname <> 'c' AND nspname = ";   /* PgQ's schema */

int style_ask(struct pq *src, const struct conf *c, struct style *style, struct err *e)
{
	struct buf sql = { 0 };

	*style = (struct style){ 0 };
	buf_str(&sql, ask_sql);
	buf_literal(&sql, span_of(src->schema ? src->schema : "pgq"));
	buf_str(&sql, ")::int4");
	int rc = pq_query(src, buf_cstr(&sql), e);
	buf_free(&sql);
	if (rc < 0)
		return rc;
	keep(style->date, sizeof style->date, pq_value(src, 0, 0));
	keep(style->interval, sizeof style->interval, pq_value(src, 0, 1));
	keep(style->zone, sizeof style->zone, pq_value(src, 0, 2));
	const struct dest *d = conf_dest(c, 0);         /* all have one zone */
	if (d && d->period.named)
		keep(style->zone, sizeof style->zone, d->part_timezone);
	else if (d && d->period.zoned)
		set_zone(style, d->period.zone_s);
	keep(style->money, sizeof style->money, pq_value(src, 0, 3));
	keep(style->encoding, sizeof style->encoding, pq_server(src)->encoding);
	bool other = pq_int(src, 0, 4, 0) && strcmp(style->encoding, "UTF8") != 0;
	return other ? write_utf8(src, style, e) : 0;
}

/* ---- the target */

/* Does the target accept the setting? */
static int takes(struct pq *dst, const char *name, const char *value, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT pg_catalog.set_config('%s', ", name);
	buf_literal(&sql, span_of(value));
	buf_str(&sql, ", true)");
	*yes = pq_query(dst, buf_cstr(&sql), e) == 0;
	buf_free(&sql);
	if (sqlstate_is(e->sqlstate, SQLSTATE_BAD_VALUE))
		*e = (struct err){ 0 };
	return e->code;
}

int style_takes(struct pq *dst, const struct style *style, bool *zone, bool *money, struct err *e)
{
	if (takes(dst, "TimeZone", style->zone, zone, e) == 0)
		takes(dst, "lc_monetary", style->money, money, e);
	return e->code;
}

static void add(struct buf *sql, const char *name, const char *value)
{
	buf_fmt(sql, "SET LOCAL %s = ", name);
	buf_literal(sql, span_of(value));
	buf_str(sql, ";");
}

/* A name that is none may still be a setting: POSIX, where UTC+3 is three hours west. */
int style_check_zone(struct pq *dst, struct zone *z, struct err *e)
{
	struct buf sql = { 0 };

	if (!z || !z->name || z->known)
		return 0;
	buf_str(&sql, PQ_OWN_PATH "SELECT 1 FROM pg_timezone_names WHERE lower(name) = lower(");
	buf_literal(&sql, span_of(z->name));
	buf_str(&sql, ") LIMIT 1");
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) == 0)
		err_set(e, ERR_CONF, "part_timezone: dst_db knows no time zone %s (see its view"
			" pg_timezone_names)", z->name);
	z->known = !e->code;
	buf_free(&sql);
	return e->code;
}

/* Makes the target's transactions read times and money as the source prints them. */
static int match(struct pq *dst, const struct conf *c, const struct style *style, struct err *e)
{
	struct buf sql = { 0 };
	bool zone = false, money = false;

	if (style_check_zone(dst, c->zone, e) < 0 ||
	    style_takes(dst, style, &zone, &money, e) < 0)
		return e->code;
	if (zone)
		add(&sql, "TimeZone", style->zone);
	else
		log_warn("dst_db does not know time zone %s: it reads times without an offset by"
			" its own", style->zone);
	add(&sql, "lc_monetary", money ? style->money : "C");
	buf_cstr(&sql);
	dst->settings = sql.p;
	return 0;
}

/* With client_encoding = SQL_ASCII a server checks nothing, with its own encoding it checks that
 * text is valid. */
const char *style_client_encoding(const char *source)
{
	return strcmp(source, "SQL_ASCII") == 0 ? NULL : source;
}

int style_open(struct pq **dst, const struct conf *c, const struct style *style, struct err *e)
{
	bool known = *style->encoding;

	if (*dst)
		return 0;
	*dst = pq_open("dst_db", c->dst_db,
		style_client_encoding(known ? style->encoding : "UTF8"), e);
	if (*dst && known && match(*dst, c, style, e) < 0) {
		pq_close(*dst);
		*dst = NULL;
	}
	return e->code;
}

/* Where clocks were put forward up to the midnight l or across it, the microsecond b before it
 * never was: the server reads a later time. The last column says how long before l the first such
 * time is. */
static const char midnights_sql[] =
	"SELECT date_part('epoch', l::timestamptz)::int8,"
	" date_part('epoch', (b::timestamptz)::timestamp - b)::int8,"
	" CASE WHEN (b::timestamptz)::timestamp = b THEN 0 ELSE (SELECT max(s)"
	" FROM generate_series(1, 86400) s"
	" WHERE ((l - make_interval(secs => s))::timestamptz)::timestamp"
	" <> l - make_interval(secs => s)) END"
	" FROM (SELECT i, l, l - '1 us'::interval AS b FROM"
	" (SELECT i, '1970-01-01'::timestamp + make_interval(days => d) AS l FROM"
	" unnest('{";
static const char midnights_end[] = "}'::int4[]) WITH ORDINALITY AS u (d, i)) m) n ORDER BY i";

static void take_midnights(const struct pq *dst, struct zone_bound *bound, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bound[i].at_s = pq_int(dst, (int)i, 0, 0);
		bound[i].gap_s = pq_int(dst, (int)i, 1, 0);
		bound[i].gap_local_s = bound[i].local_s - pq_int(dst, (int)i, 2, 0);
	}
}

void style_add_zone(struct buf *sql, const struct period_rule *rule)
{
	if (rule->zone)
		add(sql, "TimeZone", rule->zone->name);
}

int style_ask_midnights(struct pq *dst, struct zone *z, struct zone_bound *bound, size_t n,
	struct err *e)
{
	struct buf sql = { 0 };

	if (style_check_zone(dst, z, e) < 0)
		return e->code;
	buf_str(&sql, PQ_OWN_PATH);
	add(&sql, "TimeZone", z->name);
	buf_str(&sql, midnights_sql);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&sql, "%s%" PRId64, i ? "," : "", bound[i].local_s / DAY_S);
	buf_str(&sql, midnights_end);
	if (pq_query(dst, buf_cstr(&sql), e) == 0 && pq_rows(dst) == (int)n)
		take_midnights(dst, bound, n);
	else if (!e->code)
		err_set(e, ERR_OTHER, "dst_db did not tell when days begin in %s", z->name);
	buf_free(&sql);
	return e->code;
}

/* The last three make the texts that --verify compares independent of role and server version. */
void style_add_settings(struct buf *sql)
{
	buf_str(sql, "SET LOCAL DateStyle = 'ISO, YMD';"
		" SET LOCAL IntervalStyle = sql_standard;"
		"SET LOCAL array_nulls = on;"
		" SET LOCAL xmloption = content;"
		" SET LOCAL standard_conforming_strings = on;"
		"SET LOCAL bytea_output = hex;"
		" SET LOCAL extra_float_digits = 3;");
}

void style_explain(const struct style *style, struct err *e)
{
	bool server = sqlstate_is(e->sqlstate, SQLSTATE_BAD_DATE);
	bool iso = strncmp(style->date, "ISO", 3) == 0;

	if (server && iso)
		err_add(e, "; dates are read as YYYY-MM-DD: the source's DateStyle is %s, the"
			" producer's session may have had another", style->date);
	else if (server || (e->code == ERR_DATA && !*e->sqlstate && *style->date && !iso))
		err_add(e, "; the source writes dates by DateStyle %s, of which only ISO is read"
			" for sure", style->date);
	if (server && strcmp(style->interval, "postgres") != 0)
		err_add(e, ", and intervals by IntervalStyle %s", style->interval);
}
