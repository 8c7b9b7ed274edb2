/*
 * What the text of a value means. A producer's session printed it, by its own DateStyle,
 * IntervalStyle, TimeZone and lc_monetary and in the encoding of its database; the target reads it,
 * by settings that may be others. So the data transaction pins those of the target: what a text
 * may mean on the source it means there too, or it is refused.
 *
 * DateStyle = ISO, YMD: dates as SQL, German and Postgres style print them are refused where day and
 * month could change places, but for years below 32, which look like days.
 * IntervalStyle = sql_standard: it reads all four styles as they were meant; of the others none
 * takes a minus in front for that of all fields, as this one prints it.
 */
#include <stdio.h>
#include <string.h>

#include "pg.h"

/* ---- the source */

static void keep(char *out, size_t size, const char *value)
{
	snprintf(out, size, "%s", value ? value : "");
}

/* PgQ's triggers encode the bytes of the database's encoding if they are in C, and UTF8 if they are
 * in PL/pgSQL. The columns without escapes come in the same then, by client_encoding. */
static int write_utf8(struct pq *src, struct style *style, struct err *e)
{
	keep(style->encoding, sizeof style->encoding, "UTF8");
	return pq_query(src, "SET client_encoding TO 'UTF8'", e);
}

/* A time without an offset is one of part_timezone's, by which it picks its partition. As the server
 * takes offsets: POSIX counts them to the west. */
static void set_zone(struct style *style, int east_s)
{
	int s = east_s < 0 ? -east_s : east_s;

	if (east_s)
		snprintf(style->zone, sizeof style->zone, "<%c%02d%02d>%c%02d:%02d:%02d", east_s < 0 ? '-' : '+', s / 3600, s / 60 % 60,
			east_s < 0 ? '+' : '-', s / 3600, s / 60 % 60, s % 60);
	else
		keep(style->zone, sizeof style->zone, "UTC");
}

int style_ask(struct pq *src, const struct conf *c, struct style *style, struct err *e)
{
	*style = (struct style){ 0 };
	if (pq_query(src, PQ_OWN_PATH "SELECT current_setting('DateStyle'), current_setting('IntervalStyle'),"
	    " current_setting('TimeZone'), current_setting('lc_monetary'), EXISTS (SELECT 1 FROM pg_proc p"
	    " JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang"
	    " WHERE nspname = 'pgq' AND proname = 'logutriga' AND lanname <> 'c')::int4", e) < 0)
		return e->code;
	keep(style->date, sizeof style->date, pq_value(src, 0, 0));
	keep(style->interval, sizeof style->interval, pq_value(src, 0, 1));
	keep(style->zone, sizeof style->zone, pq_value(src, 0, 2));
	if (c->dest.period.zoned)
		set_zone(style, c->dest.period.zone_s);
	keep(style->money, sizeof style->money, pq_value(src, 0, 3));
	keep(style->encoding, sizeof style->encoding, pq_server_encoding(src));
	bool other = pq_int(src, 0, 4, 0) && strcmp(style->encoding, "UTF8") != 0;
	return other ? write_utf8(src, style, e) : 0;
}

/* ---- the target */

static int takes(struct pq *dst, const char *name, const char *value, bool *yes, struct err *e)
{
	struct buf sql = { 0 };

	buf_fmt(&sql, "SELECT pg_catalog.set_config('%s', ", name);
	buf_literal(&sql, span_of(value));
	buf_str(&sql, ", true)");
	*yes = pq_query(dst, buf_cstr(&sql), e) == 0;
	buf_free(&sql);
	if (strncmp(e->sqlstate, "22", 2) == 0)
		*e = (struct err){ 0 };
	return e->code;
}

int style_takes(struct pq *dst, const struct style *style, bool *zone, bool *money, struct err *e)
{
	return takes(dst, "TimeZone", style->zone, zone, e) < 0 ? e->code : takes(dst, "lc_monetary", style->money, money, e);
}

static void add(struct buf *sql, const char *name, const char *value)
{
	buf_fmt(sql, "SET LOCAL %s = ", name);
	buf_literal(sql, span_of(value));
	buf_str(sql, ";");
}

static int match(struct pq *dst, const struct style *style, struct err *e)
{
	struct buf sql = { 0 };
	bool zone = false, money = false;

	if (style_takes(dst, style, &zone, &money, e) < 0)
		return e->code;
	if (zone)
		add(&sql, "TimeZone", style->zone);
	else
		log_warn("dst_db does not know time zone %s: it reads times without an offset by its own", style->zone);
	add(&sql, "lc_monetary", money ? style->money : "C");
	pq_keep_settings(dst, buf_cstr(&sql));
	buf_free(&sql);
	return 0;
}

/* SQL_ASCII says nothing about bytes, and a server that is told so checks nothing: with its own
 * encoding it does. */
struct pq *style_open(const char *conninfo, const struct style *style, struct err *e)
{
	bool known = *style->encoding, any = strcmp(style->encoding, "SQL_ASCII") == 0;
	struct pq *dst = pq_open("dst_db", conninfo, any ? NULL : known ? style->encoding : "UTF8", e);

	if (!dst || !known || match(dst, style, e) == 0)
		return dst;
	pq_close(dst);
	return NULL;
}

/* The last three: in no locale's, role's or old server's way do texts differ that --verify compares. */
void style_add_settings(struct buf *sql)
{
	buf_str(sql, "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = sql_standard;"
		"SET LOCAL array_nulls = on; SET LOCAL xmloption = content; SET LOCAL standard_conforming_strings = on;"
		"SET LOCAL bytea_output = hex; SET LOCAL extra_float_digits = 3;");
}

void style_explain(const struct style *style, struct err *e)
{
	bool server = strcmp(e->sqlstate, "22007") == 0 || strcmp(e->sqlstate, "22008") == 0;
	bool iso = strncmp(style->date, "ISO", 3) == 0;

	if (server && iso)
		err_add(e, "; dates are read as YYYY-MM-DD: the source's DateStyle is %s, the producer's session may have had another",
			style->date);
	else if (server || (e->code == ERR_DATA && !*e->sqlstate && *style->date && !iso))
		err_add(e, "; the source writes dates by DateStyle %s, of which only ISO is read for sure", style->date);
	if (server && strcmp(style->interval, "postgres") != 0)
		err_add(e, ", and intervals by IntervalStyle %s", style->interval);
}
