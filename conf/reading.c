/*
 * Reading one key: which of its values counts, %(name)s in it, and where an error is. A rule's
 * section comes before the job's, and that before [DEFAULT].
 */
#include <stdlib.h>
#include <string.h>

#include "reading.h"

/* The value set for the key in the rule's section, under its name or its alias. */
static struct value *given_in_section(const struct reading *l, const struct key *key)
{
	if (!l->section || !key_is_of_dest(key))
		return NULL;
	struct value *value = values_find_in(&l->values, l->section, key->name);

	return value || !key->alias ? value : values_find_in(&l->values, l->section, key->alias);
}

struct value *reading_given(const struct reading *l, const struct key *key)
{
	struct value *value = given_in_section(l, key);

	if (value)
		return value;
	value = values_find(&l->values, key->name);
	struct value *alias = key->alias ? values_find(&l->values, key->alias) : NULL;

	return alias && (!value || alias->from > value->from) ? alias : value;
}

static const char *default_of(const struct reading *l, const struct key *key)
{
	return strcmp(key->name, "job_name") == 0 ? l->values.job_name : key->def;
}

/* An empty number of the job is an error; any other empty key has its default. */
static bool may_be_empty(const struct reading *l, const struct key *key)
{
	return l->section || (key->type != KEY_INT && key->type != KEY_SECONDS);
}

/* Appends where the value of the key is from. */
static void add_where(const struct reading *l, const char *name, struct buf *where)
{
	const struct value *value = reading_given(l, key_find(name));

	if (value && value->section)
		buf_str(where, value->where);
	else
		values_where(&l->values, value ? value->key : name, where);
	if (l->section && !(value && value->section))
		buf_fmt(where, " (for section [%.200s])", l->section);
}

int reading_refuse(struct reading *l, const char *name, const char *why)
{
	struct buf where = { 0 };

	add_where(l, name, &where);
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
static void check_semicolons(struct reading *l, const struct value *value)
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

/* The value of a name that is no key; NULL: not set. */
static struct value *find_name(const struct reading *l, const char *name)
{
	struct value *own = l->section ? values_find_in(&l->values, l->section, name) : NULL;

	return own ? own : values_find(&l->values, name);
}

/* The raw value of a name in %(name)s. An empty key has its default, except a number. */
static const char *lookup(void *ctx, const char *name)
{
	struct reading *l = ctx;
	const struct key *key = key_find(name);
	struct value *value = key ? reading_given(l, key) : find_name(l, name);

	if (l->keeps_words && strcmp(name, "schema") == 0)
		return "%%(schema)s";   /* left as it is: rule_dest fills it in */
	if (l->keeps_words && strcmp(name, "table") == 0)
		return "%%(table)s";
	if (value && !value->used && (value->from == VALUE_DEFAULT || value->from == VALUE_FILE))
		check_semicolons(l, value);
	if (!value)
		return key ? default_of(l, key) : NULL;
	value->used = true;
	if (!*value->raw && key && may_be_empty(l, key) && default_of(l, key))
		return default_of(l, key);
	return value->raw;
}

char *reading_value(struct reading *l, const struct key *key, struct err *why)
{
	const char *raw = lookup(l, key->name);
	char *value = raw ? ini_interpolate(raw, lookup, l, why) : NULL;

	if (!value || *value || !may_be_empty(l, key))
		return value;
	free(value);
	raw = default_of(l, key);
	return raw ? ini_interpolate(raw, lookup, l, why) : NULL;
}

/* Where the environment is the config: appends the variable that can name a secret's file. */
static void add_secret(const struct reading *l, const char *name, struct buf *text)
{
	if (key_find(name)->type != KEY_CONNINFO || l->values.file || values_find(&l->values, name))
		return;
	buf_str(text, " or ");
	values_variable(name, text);
	buf_str(text, "_FILE");
}

/* One message names all keys that are missing. */
static int must_be_set(struct reading *l, const char *name)
{
	struct buf where = { 0 }, secret = { 0 };

	if (!l->missing && l->err->code)
		return l->err->code;
	add_secret(l, name, &secret);
	if (l->missing++ == 0) {
		add_where(l, name, &where);
		err_set(l->err, ERR_CONF, "%s%s: must be set", buf_cstr(&where), buf_cstr(&secret));
	} else {
		values_where(&l->values, name, &where);
		const char *text = buf_cstr(&where);
		const char *key = strrchr(text, ' ');   /* the word after the file and line */
		err_add(l->err, "%s%s%s", l->missing == 2 ? ", and so must " : ", ",
			key ? key + 1 : text, buf_cstr(&secret));
	}
	buf_free(&where);
	buf_free(&secret);
	return l->err->code;
}

/* dest_table of the job is only a default where there are rules. */
static bool is_default(const struct reading *l, const struct key *key)
{
	return !l->section && l->values.nsection && strcmp(key->name, "dest_table") == 0;
}

/* A table as the source needs no queue. */
static bool is_optional(const struct reading *l, const struct key *key)
{
	bool queue = strcmp(key->name, "queue_name") == 0;
	const struct value *table = queue ? values_find(&l->values, "from_table") : NULL;

	return is_default(l, key) || (table && *table->raw);
}

int reading_key(struct reading *l, const struct key *key)
{
	const struct value *found = reading_given(l, key);
	const struct value *alias = !key->alias ? NULL : found && found->section ?
		values_find_in(&l->values, l->section, key->alias) :
		values_find(&l->values, key->alias);
	struct err why = { 0 };

	if (alias && found != alias && found->from == alias->from)
		return reading_refuse(l, key->name, "two spellings of one key are set");
	l->keeps_words = l->section || is_default(l, key);
	char *value = reading_value(l, key, &why);
	l->keeps_words = false;
	if (why.code)
		return reading_refuse(l, key->name, why.msg);
	if (value)
		return key_store(key, l->conf, l->dest, value, &why) < 0 ?
			reading_refuse(l, key->name, why.msg) : 0;
	return key->required && !is_optional(l, key) ? must_be_set(l, key->name) : 0;
}
