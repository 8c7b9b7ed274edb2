/*
 * Reads the rules: a section of the file for each, whose name is a source table's or a pattern.
 */
#include <stdlib.h>
#include <string.h>

#include "reading.h"

/* A value of the section that no rule can have is an error with its line. */
static int check_section(struct reading *l, const char *section)
{
	for (size_t i = 0; i < l->values.n; i++) {
		const struct value *value = &l->values.at[i];
		const struct key *key = value->section == section ? key_find(value->key) : NULL;
		if (key && !key_is_of_dest(key))
			return err_set(l->err, ERR_CONF, "%s: a key of the job: it belongs into"
				" [tdispatch]", value->where);
	}
	return 0;
}

/* Reads key `ignore`, which only rules have. */
static int read_ignore(struct reading *l, struct rule *rule)
{
	struct value *value = values_find_in(&l->values, l->section, "ignore");

	if (!value)
		return 0;
	value->used = true;
	rule->ignore = strcmp(value->raw, "1") == 0;
	return rule->ignore || strcmp(value->raw, "0") == 0 ? 0 :
		err_set(l->err, ERR_CONF, "%s: neither 0 nor 1", value->where);
}

/* %(schema)s and %(table)s come from events: only as a name they can be quoted. */
static int check_words(struct reading *l, struct rule *rule)
{
	for (size_t i = 0; i < key_count; i++) {
		const struct key *key = &key_table[i];
		char **text = key_is_of_dest(key) ? key_text(key, l->conf, &rule->dest) : NULL;
		if (!text || !*text || !(strstr(*text, "%(schema)s") || strstr(*text, "%(table)s")))
			continue;
		rule->by_name = true;
		if (strcmp(key->name, "dest_table") != 0)
			return reading_refuse(l, key->name, "%(schema)s and %(table)s are known in"
				" dest_table alone");
	}
	if (!rule->by_name || !rule->by_type)
		return 0;
	return reading_refuse(l, "dest_table", "events of this section name no table:"
		" %(schema)s and %(table)s are not known");
}

/* As dest_complete, with names that an event might bring; derives what does not depend on them. */
static const char *try_names(struct rule *rule, struct err *why)
{
	struct dest tried;
	int rc = rule_dest(rule, span_of("schema.table"), &tried, why);
	char *words = rule->dest.dest_table;

	rule->dest.dest_table = tried.dest_table;
	const char *key = dest_complete(&rule->dest, why);
	rule->dest.dest_table = words;
	rule->dest.schema = rule->dest.table = (struct span){ NULL, 0 };
	rule_dest_free(&tried);
	return !key && rc < 0 ? "dest_table" : key;
}

static bool is_inherited(const struct reading *l, const char *key)
{
	const struct value *value = reading_given(l, key_find(key));

	return !value || !value->section;
}

/* A section of another kind needs not unset what others say of theirs. */
static void drop_inherited(struct reading *l, struct dest *d)
{
	if (d->row_key && d->row_mode != ROWS_KEEP_LATEST && is_inherited(l, "row_key")) {
		free(d->row_key);
		d->row_key = NULL;
	}
	if (d->part_field)
		return;
	struct period_rule rule = { 0 };
	if (is_inherited(l, "part_method") && period_method(&rule, d->part_method) &&
	    !period_is_dated(&rule)) {
		free(d->part_method);
		d->part_method = mem_text("daily");
	}
	if (d->part_template && is_inherited(l, "part_template") &&
	    strstr(d->part_template, "_PART_")) {
		free(d->part_template);
		d->part_template = NULL;
	}
	if (d->part_keep && is_inherited(l, "part_keep")) {
		free(d->part_keep);
		d->part_keep = NULL;
	}
	if (is_inherited(l, "part_premake"))
		d->part_premake = 0;
	if (is_inherited(l, "part_late"))
		d->part_late = PART_LATE_CREATE;
}

static int load_rule(struct reading *l, struct rule *rule)
{
	size_t type = strlen(VALUES_TYPE_SECTION);
	struct err why = { 0 };

	rule->by_type = strncmp(rule->section, VALUES_TYPE_SECTION, type) == 0;
	rule->pattern = span_of(rule->section + (rule->by_type ? type : 0));
	if (check_section(l, l->section) < 0 || read_ignore(l, rule) < 0 || rule->ignore)
		return l->err->code;
	for (size_t i = 0; i < key_count && !l->err->code; i++)
		if (key_is_of_dest(&key_table[i]))
			reading_key(l, &key_table[i]);
	if (!l->err->code)
		drop_inherited(l, &rule->dest);
	if (l->err->code || check_words(l, rule) < 0)
		return l->err->code;
	const char *key = rule->by_name ? try_names(rule, &why) : dest_complete(&rule->dest, &why);
	return key ? reading_refuse(l, key, why.msg) : 0;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Must rules that share a table have the same value of the key? */
static bool is_shared(const struct key *key)
{
	return strncmp(key->name, "part_", strlen("part_")) == 0 ||
		strcmp(key->name, "row_mode") == 0;
}

/* Two rules may share a table, but not cut it into partitions in two ways; and where it keeps the
 * latest rows, there is one source of them. */
static int check_shared(struct reading *l, const struct rule *a, const struct rule *b)
{
	struct buf x = { 0 }, y = { 0 };

	/* of patterns the names are not known yet: dests.c */
	if (a->ignore || b->ignore || a->by_name || b->by_name ||
	    !same_text(a->dest.dest_table, b->dest.dest_table))
		return 0;
	if (a->dest.row_mode == ROWS_KEEP_LATEST || b->dest.row_mode == ROWS_KEEP_LATEST)
		return err_set(l->err, ERR_CONF, "%s: dest_table is that of [%.200s]: with row_mode"
			" = keep_latest a table has one source table",
			values_find_in(&l->values, l->section, "")->where, a->section);
	for (size_t i = 0; i < key_count && !l->err->code; i++) {
		const struct key *key = &key_table[i];
		if (!key_is_of_dest(key) || !is_shared(key))
			continue;
		char **text[] = { key_text(key, NULL, &a->dest), key_text(key, NULL, &b->dest) };
		x.len = y.len = 0;
		if (!text[0] || *text[0])
			key_show(key, NULL, &a->dest, &x, NULL);
		if (!text[1] || *text[1])
			key_show(key, NULL, &b->dest, &y, NULL);
		if (!span_eq((struct span){ x.p, x.len }, (struct span){ y.p, y.len }))
			err_set(l->err, ERR_CONF, "%s: dest_table is that of [%.200s], and %s"
				" differs: one table is cut in one way",
				values_find_in(&l->values, l->section, "")->where, a->section,
				key->name);
	}
	buf_free(&x);
	buf_free(&y);
	return l->err->code;
}

static bool is_told(const struct dest *d)
{
	return d->part_by == PART_BY_EVTIME || d->part_by == PART_BY_BATCHTIME;
}

/* The target's session has one time zone, for all rows of the batch; and an event has one time by
 * the source's. */
static int check_zone(struct reading *l, const struct rule *a, const struct rule *b)
{
	const struct period_rule *x = &a->dest.period, *y = &b->dest.period;
	struct buf why = { 0 };

	if (a->ignore || b->ignore)
		return 0;
	if (!x->zoned && a->dest.part_by != b->dest.part_by && is_told(&a->dest) &&
	    is_told(&b->dest))
		return reading_refuse(l, "part_field", "with part_timezone = text, _EVTIME and"
			" _BATCHTIME cannot both be used: set part_timezone = UTC");
	if (period_same_zone(x, y) && (!x->named ||
	    strcmp(a->dest.part_timezone, b->dest.part_timezone) == 0))
		return 0;
	buf_fmt(&why, "it differs from that of [%.200s]: all sections have one, which may stand in"
		" [tdispatch]", a->section);
	reading_refuse(l, "part_timezone", buf_cstr(&why));
	buf_free(&why);
	return l->err->code;
}

int rules_load(struct reading *l)
{
	struct conf *c = l->conf;

	c->rule = mem_alloc(l->values.nsection * sizeof *c->rule);
	for (size_t i = 0; i < l->values.nsection && !l->err->code; i++) {
		struct rule *rule = &c->rule[c->nrule++];
		l->section = l->values.section[i];
		*rule = (struct rule){ .section = mem_text(l->section) };
		l->dest = &rule->dest;
		load_rule(l, rule);
		for (size_t k = 0; k + 1 < c->nrule && !l->err->code; k++)
			if (check_shared(l, &c->rule[k], rule) == 0)
				check_zone(l, &c->rule[k], rule);
	}
	l->section = NULL;
	l->dest = &c->dest;
	return l->err->code;
}
