/*
 * The config as a whole. It is read in three steps: collect the values that are set; replace
 * %(name)s in those of our keys and check their types; derive the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reading.h"

static bool is_key(const char *name)
{
	return key_find(name);
}

/* Appends what a name was meant to be, as it is written there: a key, or a variable. */
static void add_likely(const struct value *value, struct buf *out)
{
	const char *like = key_like(value->key), *end = strrchr(value->key, '_');
	struct buf name = { 0 };
	bool file = value->from == VALUE_ENV && !like && end && strncmp(end, "_f", 2) == 0;

	if (file) {
		buf_add(&name, value->key, (size_t)(end - value->key));
		like = key_find(buf_cstr(&name)) ? buf_cstr(&name) : key_like(buf_cstr(&name));
	}
	if (like) {
		buf_str(out, "; did you mean ");
		(value->from == VALUE_ENV ? values_variable(like, out) : buf_str(out, like));
		buf_str(out, file ? "_FILE?" : "?");
	}
	buf_free(&name);
}

/* An unknown key that a known one uses through %(name)s is not a typo. */
static void warn_unknown(struct reading *l)
{
	for (size_t i = 0; i < l->values.n; i++) {
		const struct value *value = &l->values.at[i];
		bool is_ignore = value->section && strcmp(value->key, "ignore") == 0;
		if (value->used || is_key(value->key) || is_ignore)
			continue;
		buf_fmt(&l->conf->warnings, "%s: %s", value->where, *value->key ?
			"no key of that name is known: ignored" : "a section whose name has no dot"
			" is ignored: that of a table has its schema, [public.orders], and that"
			" of events without a table begins with type, [type order.*]");
		if (*value->key)
			add_likely(value, &l->conf->warnings);
		buf_str(&l->conf->warnings, "\n");
	}
}

/* ---- derived values */

/* Fills base_name and base_consumer. */
static void find_base_names(struct reading *l)
{
	const struct value *given_name = values_find(&l->values, "job_name");
	char *name = l->values.job_name;
	struct err ignored = { 0 };

	if (!l->values.old || (given_name && *given_name->raw))
		return;
	l->values.job_name = l->values.base_name;
	l->conf->base_name = reading_value(l, key_find("job_name"), &ignored);
	l->conf->base_consumer = reading_value(l, key_find("consumer_name"), &ignored);
	l->values.job_name = name;
	if (l->conf->base_consumer && strcmp(l->conf->base_consumer, l->conf->consumer_name) != 0)
		return;
	free(l->conf->base_consumer);
	l->conf->base_consumer = NULL;
}

static void warn_part_column(struct reading *l)
{
	const struct value *value = reading_given(l, key_find("part_field"));

	if (l->values.old && value && *value->raw && strcmp(value->key, "part_column") == 0)
		buf_fmt(&l->conf->warnings, "%s: table_dispatcher 2.1 never read this key, and"
			" wrote to dest_table itself; here it is part_field: rows go to"
			" partitions\n", value->where);
}

static void choose_state_file(struct conf *c)
{
	struct buf path = { 0 };

	if (c->state_file || !c->pidfile)
		return;
	buf_fmt(&path, "%s.state", c->pidfile);
	buf_cstr(&path);
	c->state_file = path.p;
}

/* A file that we replace must not be any of the others. */
static int check_files(struct reading *l)
{
	const struct conf *c = l->conf;
	const char *const path[] = { c->pidfile, c->logfile, c->state_file, c->metrics_file };
	static const char *const name[] = { "pidfile", "logfile", "state_file", "metrics_file" };

	for (size_t i = 2; i < 4; i++)
		for (size_t k = 0; k < i; k++)
			if (path[i] && path[k] && strcmp(path[i], path[k]) == 0)
				return reading_refuse(l, name[i],
					"another key names the same file");
	return 0;
}

static int check_listen(struct reading *l)
{
	const char *address = l->conf->metrics_listen;
	struct socket_address ignored;

	if (!address || socket_address(address, &ignored))
		return 0;
	return reading_refuse(l, "metrics_listen", "neither an address with a port, 127.0.0.1:9187"
		" or [::1]:9187, nor the path of a socket that begins with /");
}

/* ---- the job */

/* After a crash ticks may be merged in another way, and an event's lane follows from the event. */
static int check_dest(struct reading *l, const struct dest *d)
{
	if (d->part_by == PART_BY_BATCHTIME && l->conf->lanes > 1)
		return reading_refuse(l, "part_field", "_BATCHTIME needs lanes = 1: which lane"
			" takes an event must follow from the event alone");
	return 0;
}

/* A name, and one that is in no event. */
static int check_from(struct reading *l)
{
	const struct conf *c = l->conf;
	const char *table = c->from_table, *dot = table ? strchr(table, '.') : NULL;

	if (table && (dot == table || (dot && !dot[1])))
		return reading_refuse(l, "from_table", "it must be name or schema.name");
	if (table && *c->queue_name && c->from_snapshot == FROM_SNAPSHOT_SLICE)
		return reading_refuse(l, "from_snapshot", "a copy that goes on with a queue has one"
			" snapshot: which events it saw is known by that");
	for (size_t i = 0; table && conf_dest(c, i); i++)
		if (conf_dest(c, i)->part_by >= PART_BY_EVTIME)
			return reading_refuse(l, "part_field", "a row of from_table has no event,"
				" and so no time of one: name a column");
	return 0;
}

static int check_events(struct reading *l)
{
	const struct conf *c = l->conf;

	if (!filter_is_list(c->tables))
		return reading_refuse(l, "tables", "an empty name in the list");
	if (!c->nrule)
		return check_dest(l, &c->dest);
	for (size_t i = 0; i < c->nrule && !l->err->code; i++) {
		l->section = l->values.section[i];
		if (!c->rule[i].ignore)
			check_dest(l, &c->rule[i].dest);
	}
	l->section = NULL;
	return l->err->code;
}

static void share_with(struct conf *c, struct dest *d)
{
	d->period.list = c->list;
	if (!d->period.named)
		return;
	c->zone->name = d->part_timezone;
	d->period.zone = c->zone;
}

/* Gives all destinations what they share. */
static void share(struct conf *c)
{
	c->zone = mem_alloc(sizeof *c->zone);
	*c->zone = (struct zone){ 0 };
	c->list = mem_alloc(sizeof *c->list);
	*c->list = (struct list){ 0 };
	share_with(c, &c->dest);
	for (size_t i = 0; i < c->nrule; i++)
		share_with(c, &c->rule[i].dest);
}

static int load_keys(struct reading *l)
{
	struct err why = { 0 };
	const char *key;

	for (size_t i = 0; i < key_count; i++)
		reading_key(l, &key_table[i]);
	if (!l->err->code)
		rules_load(l);
	warn_unknown(l);        /* after an error too: a misspelt key may be the cause */
	choose_state_file(l->conf);
	if (!l->conf->queue_name)
		l->conf->queue_name = mem_str("", 0);
	if (l->err->code || check_files(l) < 0 || check_listen(l) < 0)
		return l->err->code;
	find_base_names(l);
	warn_part_column(l);
	key = l->conf->nrule ? NULL : dest_complete(l->dest, &why);
	share(l->conf);
	if (key)
		return reading_refuse(l, key, why.msg);
	return check_events(l) < 0 ? l->err->code : check_from(l);
}

int conf_load(struct conf *conf, const char *file, char *const *sets, size_t nsets, struct err *e)
{
	struct reading l = { .conf = conf, .dest = &conf->dest, .err = e };
	const char *name = file ? file : "the environment";

	*conf = (struct conf){ .file = mem_text(name) };
	if (values_load(&l.values, file, sets, nsets, is_key, e) == 0)
		load_keys(&l);
	values_free(&l.values);
	return e->code;
}

static int check_ascii(const char *text, const char *what, const char *encoding, struct err *e)
{
	for (; text && *text; text++)
		if (*text & 0x80)
			return err_set(e, ERR_SHAPE, "%s has a character outside of ASCII,"
				" and src_db is in encoding %s: that needs a source in"
				" UTF8", what, encoding);
	return 0;
}

static int check_texts(const struct conf *conf, const struct dest *dest, const char *encoding,
	struct err *e)
{
	for (size_t i = 0; i < key_count && !e->code; i++) {
		const struct key *key = &key_table[i];
		if (key->type == KEY_STRING)
			check_ascii(*key_text(key, conf, dest), key->name, encoding, e);
	}
	return e->code;
}

int conf_fits(const struct conf *conf, const char *encoding, struct err *e)
{
	if (strcmp(encoding, "UTF8") == 0 || check_texts(conf, &conf->dest, encoding, e) < 0)
		return e->code;
	for (size_t i = 0; i < conf->nrule && !e->code; i++)
		if (check_ascii(conf->rule[i].section, "a section's name", encoding, e) == 0)
			check_texts(conf, &conf->rule[i].dest, encoding, e);
	return e->code;
}

void conf_free(struct conf *conf)
{
	if (conf->zone)
		zone_clear(conf->zone);
	if (conf->list)
		list_clear(conf->list);
	free(conf->zone);
	free(conf->list);
	for (size_t i = 0; i < key_count; i++)
		if (key_text(&key_table[i], conf, &conf->dest))
			free(*key_text(&key_table[i], conf, &conf->dest));
	for (size_t i = 0; i < conf->nrule; i++) {
		free(conf->rule[i].section);
		rule_dest_free(&conf->rule[i].dest);
	}
	free(conf->rule);
	free(conf->file);
	free(conf->dest.field);
	free(conf->base_name);
	free(conf->base_consumer);
	buf_free(&conf->warnings);
	*conf = (struct conf){ 0 };
}

const struct dest *conf_dest(const struct conf *conf, size_t i)
{
	if (!conf->nrule)
		return i == 0 ? &conf->dest : NULL;
	for (size_t k = 0; k < conf->nrule; k++)
		if (!conf->rule[k].ignore && i-- == 0)
			return &conf->rule[k].dest;
	return NULL;
}

bool conf_keeps(const struct conf *conf)
{
	for (size_t i = 0; conf_dest(conf, i); i++)
		if (conf_dest(conf, i)->part_keep)
			return true;
	return false;
}

bool conf_filters(const struct conf *conf)
{
	for (size_t i = 0; i < conf->nrule; i++)
		if (conf->rule[i].ignore)
			return true;
	for (size_t i = 0; conf_dest(conf, i); i++)
		if (conf_dest(conf, i)->event_types)
			return true;
	return conf->tables;
}

/* Appends text with the events' words as a config has them, not as text with a percent sign. */
static void add_words(struct buf *out, struct span text)
{
	static const char *const words[] = { "%%(schema)s", "%%(table)s" };

	for (size_t i = 0; i < text.n; i++) {
		for (size_t k = 0; k < 2; k++) {
			size_t n = strlen(words[k]);
			if (text.n - i >= n && memcmp(text.p + i, words[k], n) == 0)
				i++;    /* one of the two percent signs */
		}
		buf_add(out, text.p + i, 1);
	}
}

/* A key of the rule that is not set is so whatever the job has. */
static void show_rule(const struct conf *conf, const struct rule *rule, struct buf *out)
{
	struct buf value = { 0 };

	buf_fmt(out, "\n[%s]\n", rule->section);
	if (rule->ignore)
		buf_str(out, "ignore = 1\n");
	for (size_t i = 0; i < key_count && !rule->ignore; i++) {
		const struct key *key = &key_table[i];
		char *const *text = key_text(key, conf, &rule->dest);
		if (!key_is_of_dest(key))
			continue;
		bool is_set = !text || *text;
		buf_fmt(out, "%s =%s", key->name, is_set ? " " : "\n");
		value.len = 0;
		if (is_set)
			key_show(key, conf, &rule->dest, &value, NULL);
		add_words(out, (struct span){ value.p, value.len });
	}
	buf_free(&value);
}

void conf_show(const struct conf *conf, struct buf *out, char *(*mask)(const char *conninfo))
{
	for (size_t i = 0; i < key_count; i++) {
		char *const *text = key_text(&key_table[i], conf, &conf->dest);
		if (text && !*text)
			continue;
		buf_fmt(out, "%s = ", key_table[i].name);
		key_show(&key_table[i], conf, &conf->dest, out, mask);
	}
	for (size_t i = 0; i < conf->nrule; i++)
		show_rule(conf, &conf->rule[i], out);
}
