/*
 * The config as a whole. It is read in three steps: collect the values that are set; replace
 * %(name)s in those of our keys and check their types; derive the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

struct loading {
	struct conf *conf;
	struct values values;
	struct err *err;
	int missing;                    /* keys that must be set and are not, in err's message */
};

/* ---- values */

static bool is_key(const char *name)
{
	return key_find(name);
}

/* The value set for the key under its name or its alias; NULL: not set. */
static struct value *given(const struct loading *l, const struct key *key)
{
	struct value *value = values_find(&l->values, key->name);
	struct value *alias = key->alias ? values_find(&l->values, key->alias) : NULL;

	return alias && (!value || alias->from > value->from) ? alias : value;
}

static const char *default_of(const struct loading *l, const struct key *key)
{
	return strcmp(key->name, "job_name") == 0 ? l->values.job_name : key->def;
}

/* An empty number is an error; any other empty key has its default. */
static bool may_be_empty(const struct key *key)
{
	return key->type != KEY_INT && key->type != KEY_SECONDS;
}

/* Prefixes the error with where the value of the key is from. */
static int bad_value(struct loading *l, const char *name, const char *why)
{
	const struct value *value = given(l, key_find(name));
	struct buf where = { 0 };

	values_where(&l->values, value ? value->key : name, &where);
	err_set(l->err, ERR_CONF, "%s: %s", buf_cstr(&where), why);
	buf_free(&where);
	return l->err->code;
}

/* Does a first line contain what Python 2 took for the start of a comment? */
static bool has_inline_comment(const char *raw)
{
	size_t at = strcspn(raw, ";\n");

	return raw[at] == ';' && at > 0 && strchr(" \t\v\f\r", raw[at - 1]);
}

/* Rejects or warns of what table_dispatcher 2.1 read differently. */
static void check_semicolons(struct loading *l, const struct value *value)
{
	bool is_template = strcmp(value->key, "part_template") == 0;

	if (is_template && value->semicolon_line)
		err_set(l->err, ERR_CONF, "%s: line %zu begins with a ; and so is a comment, where"
			" table_dispatcher 2.1 ran it as SQL: put the ; at the end of the line"
			" before, or begin the comment with --", value->where,
			value->semicolon_line);
	if (is_template || !has_inline_comment(value->raw))
		return;
	if (l->values.old)
		err_set(l->err, ERR_CONF, "%s: a ; after a blank began a comment in"
			" table_dispatcher 2.1, and is part of the value today: give the comment a"
			" line of its own, or where it is no comment name the section"
			" [tdispatch]%s", value->where, values_find(&l->values, "job_name") ? "" :
			", and add job_name = " VALUES_OLD_SECTION ", the consumer's name till"
			" now");
	else
		buf_fmt(&l->conf->warnings, "%s: the ; is part of the value: a comment has a line"
			" of its own\n", value->where);
}

/* The raw value of a name in %(name)s. An empty key has its default, except a number. */
static const char *lookup(void *ctx, const char *name)
{
	struct loading *l = ctx;
	const struct key *key = key_find(name);
	struct value *value = key ? given(l, key) : values_find(&l->values, name);

	if (value && !value->used && (value->from == VALUE_DEFAULT || value->from == VALUE_FILE))
		check_semicolons(l, value);
	if (!value)
		return key ? default_of(l, key) : NULL;
	value->used = true;
	if (!*value->raw && key && may_be_empty(key) && default_of(l, key))
		return default_of(l, key);
	return value->raw;
}

/* Malloc'ed; NULL if the key has no value. */
static char *value_of(struct loading *l, const struct key *key, struct err *why)
{
	const char *raw = lookup(l, key->name);
	char *value = raw ? ini_interpolate(raw, lookup, l, why) : NULL;

	if (!value || *value || !may_be_empty(key))
		return value;
	free(value);
	raw = default_of(l, key);
	return raw ? ini_interpolate(raw, lookup, l, why) : NULL;
}

/* Where the environment is the config: appends the variable that can name a secret's file. */
static void add_secret(const struct loading *l, const struct key *key, struct buf *text)
{
	if (key->type != KEY_CONNINFO || l->values.file || values_find(&l->values, key->name))
		return;
	buf_str(text, " or ");
	values_variable(key->name, text);
	buf_str(text, "_FILE");
}

/* One message names all keys that are missing. */
static int must_be_set(struct loading *l, const char *name)
{
	struct buf where = { 0 };

	if (!l->missing && l->err->code)
		return l->err->code;
	const struct value *value = given(l, key_find(name));
	values_where(&l->values, value ? value->key : name, &where);
	const char *key = strrchr(buf_cstr(&where), ' ');       /* after the file and line */
	size_t at = key ? (size_t)(key + 1 - where.p) : 0;
	add_secret(l, key_find(name), &where);
	const char *text = buf_cstr(&where);
	if (l->missing++ == 0)
		err_set(l->err, ERR_CONF, "%s: must be set", text);
	else
		err_add(l->err, "%s%s", l->missing == 2 ? ", and so must " : ", ", text + at);
	buf_free(&where);
	return l->err->code;
}

static int read_key(struct loading *l, const struct key *key)
{
	const struct value *found = given(l, key);
	const struct value *alias = key->alias ? values_find(&l->values, key->alias) : NULL;
	struct err why = { 0 };

	if (alias && found != alias && found->from == alias->from)
		return bad_value(l, key->name, "two spellings of one key are set");
	char *value = value_of(l, key, &why);
	if (why.code)
		return bad_value(l, key->name, why.msg);
	if (value)
		return key_store(key, l->conf, value, &why) < 0 ?
			bad_value(l, key->name, why.msg) : 0;
	return key->required ? must_be_set(l, key->name) : 0;
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
static void warn_unknown(struct loading *l)
{
	for (size_t i = 0; i < l->values.n; i++) {
		const struct value *value = &l->values.at[i];
		if (value->used || is_key(value->key))
			continue;
		buf_fmt(&l->conf->warnings, "%s: no key of that name is known: ignored",
			value->where);
		add_likely(value, &l->conf->warnings);
		buf_str(&l->conf->warnings, "\n");
	}
}

/* ---- derived values */

/* Fills base_name and base_consumer. */
static void find_base_names(struct loading *l)
{
	const struct value *given_name = values_find(&l->values, "job_name");
	char *name = l->values.job_name;
	struct err ignored = { 0 };

	if (!l->values.old || (given_name && *given_name->raw))
		return;
	l->values.job_name = l->values.base_name;
	l->conf->base_name = ini_interpolate(l->values.base_name, lookup, l, &ignored);
	l->conf->base_consumer = value_of(l, key_find("consumer_name"), &ignored);
	l->values.job_name = name;
	if (l->conf->base_consumer && strcmp(l->conf->base_consumer, l->conf->consumer_name) != 0)
		return;
	free(l->conf->base_consumer);
	l->conf->base_consumer = NULL;
}

static void warn_part_column(struct loading *l)
{
	const struct value *value = given(l, key_find("part_field"));

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
static int check_files(struct loading *l)
{
	const struct conf *c = l->conf;
	const char *const path[] = { c->pidfile, c->logfile, c->state_file, c->metrics_file };
	static const char *const name[] = { "pidfile", "logfile", "state_file", "metrics_file" };

	for (size_t i = 2; i < 4; i++)
		for (size_t k = 0; k < i; k++)
			if (path[i] && path[k] && strcmp(path[i], path[k]) == 0)
				return bad_value(l, name[i], "another key names the same file");
	return 0;
}

static int check_listen(struct loading *l)
{
	const char *address = l->conf->metrics_listen;
	struct socket_address ignored;

	if (!address || socket_address(address, &ignored))
		return 0;
	return bad_value(l, "metrics_listen", "neither an address with a port, 127.0.0.1:9187 or"
		" [::1]:9187, nor the path of a socket that begins with /");
}

static int load_keys(struct loading *l)
{
	struct err why = { 0 };
	const char *key;

	for (size_t i = 0; i < key_count; i++)
		read_key(l, &key_table[i]);
	warn_unknown(l);        /* after an error too: a misspelt key may be the cause */
	choose_state_file(l->conf);
	if (l->err->code || check_files(l) < 0 || check_listen(l) < 0)
		return l->err->code;
	find_base_names(l);
	warn_part_column(l);
	key = dest_complete(&l->conf->dest, &why);
	return key ? bad_value(l, key, why.msg) : 0;
}

int conf_load(struct conf *conf, const char *file, char *const *sets, size_t nsets, struct err *e)
{
	struct loading l = { .conf = conf, .err = e };
	const char *name = file ? file : "the environment";

	*conf = (struct conf){ .file = mem_str(name, strlen(name)) };
	if (values_load(&l.values, file, sets, nsets, is_key, e) == 0)
		load_keys(&l);
	values_free(&l.values);
	return e->code;
}

int conf_fits(const struct conf *conf, const char *encoding, struct err *e)
{
	for (size_t i = 0; i < key_count && strcmp(encoding, "UTF8") != 0; i++) {
		const struct key *key = &key_table[i];
		const char *text = key->type == KEY_STRING ? *key_text(key, conf) : NULL;
		for (; text && *text; text++)
			if (*text & 0x80)
				return err_set(e, ERR_SHAPE, "%s has a character outside of ASCII,"
					" and src_db is in encoding %s: that needs a source in"
					" UTF8", key->name, encoding);
	}
	return 0;
}

void conf_free(struct conf *conf)
{
	for (size_t i = 0; i < key_count; i++)
		if (key_text(&key_table[i], conf))
			free(*key_text(&key_table[i], conf));
	free(conf->file);
	free(conf->dest.field);
	free(conf->base_name);
	free(conf->base_consumer);
	buf_free(&conf->warnings);
	*conf = (struct conf){ 0 };
}

void conf_show(const struct conf *conf, struct buf *out, char *(*mask)(const char *conninfo))
{
	for (size_t i = 0; i < key_count; i++) {
		char *const *text = key_text(&key_table[i], conf);
		if (text && !*text)
			continue;
		buf_fmt(out, "%s = ", key_table[i].name);
		key_show(&key_table[i], conf, out, mask);
	}
}
