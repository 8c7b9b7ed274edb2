/*
 * The destinations of a job, and which of them an event's row goes to. A rule of the config makes a
 * way from source tables to a place, its dest_table: one way for all its tables, or with a pattern
 * in dest_table's place one for each. Several ways may lead to one place. What was found for a
 * source table is remembered, since events of one table follow each other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define PLACES_MAX 2000                 /* destinations: more are a pattern gone wild */
#define SOURCES_MAX 10000               /* source tables remembered at a time */

/* ---- places and ways */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static struct place *find_place(const struct dests *ds, const char *dest_table)
{
	for (size_t i = 0; i < ds->nplace; i++)
		if (strcmp(ds->place[i]->dest->dest_table, dest_table) == 0)
			return ds->place[i];
	return NULL;
}

/* The first key in which the two would cut one table in two ways; NULL: they agree. */
static const char *disagree(const struct dest *a, const struct dest *b)
{
	return a->row_mode != b->row_mode ? "row_mode" :
		!same_text(a->part_field, b->part_field) ? "part_field" :
		a->period.method != b->period.method || a->period.step != b->period.step ?
		"part_method" :
		!period_same_zone(&a->period, &b->period) ? "part_timezone" :
		!same_text(a->part_template, b->part_template) ? "part_template" :
		!same_text(a->part_keep, b->part_keep) ? "part_keep" :
		a->part_keep_action != b->part_keep_action ? "part_keep_action" :
		a->part_late != b->part_late ? "part_late" :
		a->part_premake != b->part_premake ? "part_premake" :
		a->part_list_max != b->part_list_max ? "part_list_max" : NULL;
}

static struct place *add_place(struct dests *ds, const struct way *w)
{
	struct place *k = mem_alloc(sizeof *k);

	*k = (struct place){
		.dest = w->dest, .known = { .dest = w->dest }, .route = w->route,
		.number = ds->nplace,
	};
	ds->place = mem_grow(ds->place, ds->nplace, &ds->place_cap, sizeof *ds->place);
	ds->place[ds->nplace++] = k;
	return k;
}

static void free_way(struct way *w)
{
	if (w->dest == &w->own)
		rule_dest_free(&w->own);
	route_free(w->route);
	route_free(w->old);
	action_free(w->keys);
	free(w);
}

/* Adds the way, which is taken over, and its place if it is new. */
static struct way *add_way(struct dests *ds, struct way *w, const struct style *style)
{
	const struct dest *d = w->dest;
	const struct columns columns = dest_columns(d);

	w->number = ds->nway;
	w->route = route_new(&columns);
	w->dates = (struct row_dates){ .dest = d, .style = style };
	if (d->row_mode == ROWS_KEEP_LATEST) {
		struct columns old = columns;
		old.on_missing = ON_MISSING_NULL;       /* of a row that goes only the key counts */
		w->old = route_new(&old);
		w->old_dates = w->dates;
	}
	w->place = find_place(ds, d->dest_table);
	if (!w->place)
		w->place = add_place(ds, w);
	ds->way = mem_grow(ds->way, ds->nway, &ds->way_cap, sizeof *ds->way);
	ds->way[ds->nway++] = w;
	return w;
}

static struct way *new_way(const struct rule *rule, const struct dest *d)
{
	struct way *w = mem_alloc(sizeof *w);

	*w = (struct way){ .rule = rule, .dest = d };
	return w;
}

/* The rule's way to that table, or NULL. */
static struct way *find_way(const struct dests *ds, const struct rule *rule, const char *dest_table)
{
	for (size_t i = 0; i < ds->nway; i++)
		if (ds->way[i]->rule == rule &&
		    (!dest_table || strcmp(ds->way[i]->dest->dest_table, dest_table) == 0))
			return ds->way[i];
	return NULL;
}

void dests_open(struct dests *ds, const struct conf *conf, const struct style *style)
{
	if (ds->nway)
		return;
	ds->style = style;
	if (!conf->nrule)
		add_way(ds, new_way(NULL, &conf->dest), style);
	for (size_t i = 0; i < conf->nrule; i++) {
		const struct rule *rule = &conf->rule[i];
		if (!rule->ignore && !rule->by_name)
			add_way(ds, new_way(rule, &rule->dest), style);
	}
}

/* ---- source tables */

/* The way of a rule by_name to the table's destination. NULL: it has none, and *why says why. */
static struct way *meet(struct dests *ds, const struct rule *rule, struct span table, char **why)
{
	struct way *w = new_way(rule, NULL);
	struct err e = { 0 };
	struct buf text = { 0 };

	w->dest = &w->own;
	if (rule_dest(rule, table, &w->own, &e) < 0) {
		*why = mem_text(e.msg);
		free_way(w);
		return NULL;
	}
	struct way *known = find_way(ds, rule, w->own.dest_table);
	const struct place *place = find_place(ds, w->own.dest_table);
	const char *key = place ? disagree(place->dest, &w->own) : NULL;
	if (!known && key)
		buf_fmt(&text, "its destination %s has another %s by another section: one table is"
			" cut in one way", w->own.dest_table, key);
	else if (!known && !place && ds->nplace >= PLACES_MAX)
		buf_fmt(&text, "there are more than %d destinations: is section [%.200s] meant so?",
			PLACES_MAX, rule->section);
	if (!known && !text.len)
		return add_way(ds, w, ds->style);
	if (!known)
		*why = mem_text(buf_cstr(&text));
	buf_free(&text);
	free_way(w);
	return known;
}

static void no_section(const struct source *s, char **why)
{
	struct buf text = { 0 };

	buf_fmt(&text, "no section of the config is for %s ",
		s->by_type ? "events without a table and of type" : "source table");
	buf_printable(&text, s->name, 2 * NAME_BYTES_MAX);
	buf_str(&text, ": add one, with ignore = 1 if they are not wanted");
	*why = mem_text(buf_cstr(&text));
	buf_free(&text);
}

/* Finds out what becomes of the table's events. */
static void lead(struct dests *ds, const struct conf *conf, struct source *s)
{
	struct span none = { NULL, 0 };
	const struct rule *rule = s->by_type ? rule_find(conf, none, s->name) :
		rule_find(conf, s->name, none);

	if (!rule)
		no_section(s, &s->why);
	else if (!rule->ignore)
		s->way = rule->by_name ? meet(ds, rule, s->name, &s->why) :
			find_way(ds, rule, NULL);
}

static void forget_sources(struct dests *ds)
{
	for (size_t i = 0; i < DESTS_BUCKETS; i++)
		while (ds->bucket[i]) {
			struct source *s = ds->bucket[i];
			ds->bucket[i] = s->next;
			free(s->why);
			free(s);
		}
	ds->nsource = 0;
	ds->last = NULL;
}

static struct source *add_source(struct dests *ds, struct source **bucket, struct span name,
	bool by_type)
{
	struct source *s = mem_alloc(sizeof *s + name.n + 1);
	char *copy = (char *)(s + 1);

	memcpy(copy, name.p, name.n);
	copy[name.n] = 0;               /* --check reads it as a string */
	*s = (struct source){ .next = *bucket, .name = { copy, name.n }, .by_type = by_type };
	*bucket = s;
	ds->nsource++;
	return s;
}

static bool is_of(const struct source *s, struct span name, bool by_type)
{
	return s->name.n == name.n && s->by_type == by_type &&
		same_bytes(s->name.p, name.p, name.n);
}

static struct source *look_up(struct dests *ds, const struct conf *conf, struct span name,
	bool by_type)
{
	struct source **bucket = &ds->bucket[word_hash(name.p, name.n) % DESTS_BUCKETS];
	struct source *s = *bucket;

	while (s && !is_of(s, name, by_type))
		s = s->next;
	if (s)
		return s;
	if (ds->nsource == SOURCES_MAX)
		forget_sources(ds);
	s = add_source(ds, bucket, name, by_type);
	if (conf->nrule)
		lead(ds, conf, s);
	else
		s->way = ds->way[0];
	return s;
}

struct source *dests_source(struct dests *ds, const struct conf *conf, const struct event *ev)
{
	const struct span none = { "", 0 };
	bool by_type = conf->nrule && !ev->table.p;
	struct span name = !conf->nrule ? none : by_type ? ev->type : ev->table;

	if (!name.p)
		name = none;
	if (!ds->last || !is_of(ds->last, name, by_type))
		ds->last = look_up(ds, conf, name, by_type);
	return ds->last;
}

void dests_free(struct dests *ds)
{
	forget_sources(ds);
	for (size_t i = 0; i < ds->nplace; i++) {
		struct place *k = ds->place[i];
		known_clear(&k->known);
		tally_clear(&k->generated);
		tally_clear(&k->fill.columns);
		tally_clear(&k->fill.used);
		tally_clear(&k->stay);
		free(k->ev_type);
		free(k->source);
		free(k->names);
		free(k);
	}
	for (size_t i = 0; i < ds->nway; i++)
		free_way(ds->way[i]);
	free(ds->place);
	free(ds->way);
	*ds = (struct dests){ 0 };
}
