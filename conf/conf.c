/*
 * Which keys there are: one table of names, types and defaults, in the order of the manual.
 * Reading is three steps: the values that were given, those of our keys with %(name)s replaced
 * and their types checked, and what is worked out from them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

enum type { STRING, PATH, CONNINFO, BYTES, COUNT, SMALL, LANES, ERRORS, BOOLEAN, SECONDS };

struct key {
	const char *name, *alias;
	enum type type;
	size_t at;                      /* offset in struct conf */
	const char *def;                /* NULL: unset */
	bool required;
};

static const struct key keys[] = {
	{ "job_name", NULL, STRING, offsetof(struct conf, job_name), NULL, true },
	{ "pidfile", NULL, PATH, offsetof(struct conf, pidfile), NULL, false },
	{ "state_file", NULL, PATH, offsetof(struct conf, state_file), NULL, false },
	{ "metrics_file", NULL, PATH, offsetof(struct conf, metrics_file), NULL, false },
	{ "logfile", NULL, PATH, offsetof(struct conf, logfile), NULL, false },
	{ "log_size", NULL, BYTES, offsetof(struct conf, log_size), "10485760", false },
	{ "log_count", NULL, SMALL, offsetof(struct conf, log_count), "3", false },
	{ "log_format", NULL, STRING, offsetof(struct conf, log_format), "text", true },
	{ "use_skylog", NULL, BOOLEAN, offsetof(struct conf, use_skylog), "0", false },
	{ "loop_delay", NULL, SECONDS, offsetof(struct conf, loop_delay), "1", false },
	{ "exception_sleep", NULL, SECONDS, offsetof(struct conf, exception_sleep), "20", false },
	{ "connection_lifetime", NULL, SECONDS, offsetof(struct conf, connection_lifetime), "1200", false },
	{ "queue_name", "pgq_queue_name", STRING, offsetof(struct conf, queue_name), NULL, true },
	{ "consumer_name", "pgq_consumer_id", STRING, offsetof(struct conf, consumer_name), "%(job_name)s", true },
	{ "src_db", NULL, CONNINFO, offsetof(struct conf, src_db), NULL, true },
	{ "dst_db", NULL, CONNINFO, offsetof(struct conf, dst_db), NULL, true },
	{ "dest_table", NULL, STRING, offsetof(struct conf, dest_table), NULL, true },
	{ "fields", NULL, STRING, offsetof(struct conf, fields), "*", true },
	{ "part_field", "part_column", STRING, offsetof(struct conf, part_field), NULL, false },
	{ "part_method", NULL, STRING, offsetof(struct conf, part_method), "daily", true },
	{ "part_timezone", NULL, STRING, offsetof(struct conf, part_timezone), "text", true },
	{ "part_template", NULL, STRING, offsetof(struct conf, part_template), NULL, false },
	{ "part_keep", NULL, STRING, offsetof(struct conf, part_keep), NULL, false },
	{ "part_keep_action", NULL, STRING, offsetof(struct conf, part_keep_action), "drop", true },
	{ "part_late", NULL, STRING, offsetof(struct conf, part_late), "create", true },
	{ "part_premake", NULL, SMALL, offsetof(struct conf, part_premake), "0", false },
	{ "batch_min_events", NULL, COUNT, offsetof(struct conf, batch_min_events), "200000", false },
	{ "lanes", NULL, LANES, offsetof(struct conf, lanes), "1", false },
	{ "on_error", NULL, STRING, offsetof(struct conf, on_error), "stop", true },
	{ "max_errors", NULL, ERRORS, offsetof(struct conf, max_errors), "1000", false },
	{ "retry_limit", NULL, SECONDS, offsetof(struct conf, retry_limit), "60", false },
	{ "server_timeout", NULL, SECONDS, offsetof(struct conf, server_timeout), "900", false },
};

#define NKEYS (sizeof keys / sizeof *keys)

static bool is_text(const struct key *key)
{
	return key->type == STRING || key->type == PATH || key->type == CONNINFO;
}

struct loading {
	struct conf *conf;
	struct values values;
	struct err *err;
};

/* ---- values */

/* The key of that name or old spelling, or NULL. */
static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < NKEYS; i++)
		if (strcmp(name, keys[i].name) == 0 || (keys[i].alias && strcmp(name, keys[i].alias) == 0))
			return &keys[i];
	return NULL;
}

static bool is_key(const char *name)
{
	return find_key(name);
}

/* What the key was given, under the one spelling or the other; NULL for nothing. */
static struct value *given(const struct loading *l, const struct key *key)
{
	struct value *value = values_find(&l->values, key->name);
	struct value *alias = key->alias ? values_find(&l->values, key->alias) : NULL;

	return alias && (!value || alias->from > value->from) ? alias : value;
}

/* The raw value behind a name in %(name)s. */
static const char *lookup(void *ctx, const char *name)
{
	const struct loading *l = ctx;
	const struct key *key = find_key(name);
	struct value *value = key ? given(l, key) : values_find(&l->values, name);

	if (!value)
		return key ? key->def : NULL;
	value->used = true;
	return value->raw;
}

/* Says where the value of the key of that name is from. */
static int bad_value(struct loading *l, const char *name, const char *why)
{
	const struct value *value = given(l, find_key(name));
	struct buf where = { 0 };

	values_where(&l->values, value ? value->key : name, &where);
	err_set(l->err, ERR_CONF, "%s: %s", buf_cstr(&where), why);
	buf_free(&where);
	return l->err->code;
}

static bool parse_int64(const char *text, int64_t max, int64_t *value)
{
	char *end;

	errno = 0;
	long long n = strtoll(text, &end, 10);
	*value = n;
	return !errno && end != text && !*end && n >= 0 && n <= max;
}

/* Seconds with up to three digits after the point, as milliseconds. */
static bool parse_seconds(const char *text, int64_t *ms)
{
	size_t whole = strspn(text, "0123456789"), n = whole;
	int64_t value = 0, digits = 0;

	if (text[n] == '.')
		n += 1 + strspn(text + n + 1, "0123456789");
	if (text[n] || whole > 9 || strspn(text, ".") == n)
		return false;
	for (const char *p = text; *p && digits < 4; p++) {
		if (*p == '.' || digits)
			digits++;
		if (*p != '.')
			value = 10 * value + (*p - '0');
	}
	for (int64_t have = digits ? digits - 1 : 0; have < 3; have++)
		value *= 10;
	*ms = value;
	return true;
}

static bool parse_bool(const char *text, bool *value)
{
	static const char *const words[] = { "0", "no", "false", "off", "1", "yes", "true", "on" };

	for (size_t i = 0; i < 8; i++)
		if (strcasecmp(text, words[i]) == 0) {
			*value = i >= 4;
			return true;
		}
	return false;
}

static char *expand_home(char *path)
{
	const char *home = getenv("HOME");
	struct buf b = { 0 };

	if (path[0] != '~' || (path[1] && path[1] != '/') || !home)
		return path;
	buf_fmt(&b, "%s%s", home, path + 1);
	buf_cstr(&b);
	free(path);
	return b.p;
}

/* Stores value, a malloc'ed string that becomes the conf's, by the key's type. */
static int store(struct loading *l, const struct key *key, char *value)
{
	void *at = (char *)l->conf + key->at;

	switch (key->type) {
	case STRING:
	case CONNINFO:
		*(char **)at = value;
		return 0;
	case PATH:
		*(char **)at = expand_home(value);
		return 0;
	case BYTES:
		if (!parse_int64(value, INT64_MAX, at))
			bad_value(l, key->name, "not a whole number of bytes");
		break;
	case COUNT:
		if (!parse_int64(value, INT32_MAX, at))
			bad_value(l, key->name, "not a whole number from 0 to 2147483647");
		break;
	case SECONDS:
		if (!parse_seconds(value, at))
			bad_value(l, key->name, "not a number of seconds");
		break;
	case SMALL:
		if (!parse_int64(value, 1000, at))
			bad_value(l, key->name, "not a whole number from 0 to 1000");
		break;
	case LANES:
		if (!parse_int64(value, LANES_MAX, at) || *(int64_t *)at == 0)
			bad_value(l, key->name, "not a whole number from 1 to 16");
		break;
	case ERRORS:
		if (!parse_int64(value, DEAD_MAX, at))
			bad_value(l, key->name, "not a whole number from 0 to 100000");
		break;
	case BOOLEAN:
		if (!parse_bool(value, at))
			bad_value(l, key->name, "neither 0 nor 1");
		break;
	}
	free(value);
	return l->err->code;
}

static int read_key(struct loading *l, const struct key *key)
{
	const struct value *found = given(l, key), *alias = key->alias ? values_find(&l->values, key->alias) : NULL;
	const char *raw = lookup(l, key->name);
	struct err why = { 0 };

	if (alias && found != alias && found->from == alias->from)
		return bad_value(l, key->name, "two spellings of one key are set");
	char *value = raw ? ini_interpolate(raw, lookup, l, &why) : NULL;
	if (why.code)
		return bad_value(l, key->name, why.msg);
	if (value && (*value || !is_text(key)))
		return store(l, key, value);
	free(value);
	return key->required ? bad_value(l, key->name, "must be set") : 0;
}

/* An unknown key that the value of a known one uses by %(name)s is no typo. */
static void warn_unknown(struct loading *l)
{
	for (size_t i = 0; i < l->values.n; i++) {
		const struct value *value = &l->values.at[i];
		if (!value->used && !is_key(value->key))
			buf_fmt(&l->conf->warnings, "%s: no key of that name is known: ignored\n", value->where);
	}
}

/* ---- what is worked out */

static int split_dest_table(struct loading *l)
{
	struct conf *c = l->conf;
	char *dot = strchr(c->dest_table, '.');

	c->table = span_of(dot ? dot + 1 : c->dest_table);
	c->schema = (struct span){ c->dest_table, dot ? (size_t)(dot - c->dest_table) : 0 };
	if (c->table.n == 0 || (dot && c->schema.n == 0))
		return bad_value(l, "dest_table", "it must be name or schema.name");
	if (c->schema.n > NAME_BYTES_MAX || c->table.n > NAME_BYTES_MAX)
		return bad_value(l, "dest_table", "a name over 63 bytes, more than the server takes");
	if (c->table.n + period_suffix_len(c->period.method) > NAME_BYTES_MAX)
		return bad_value(l, "dest_table", "its partitions' names would be over 63 bytes, more than the server takes");
	return 0;
}

static struct span trimmed(const char *p, size_t n)
{
	while (n && strchr(" \t\r\n", *p)) {
		p++;
		n--;
	}
	while (n && strchr(" \t\r\n", p[n - 1]))
		n--;
	return (struct span){ p, n };
}

static int split_field(struct loading *l, struct span item, struct field *field)
{
	const char *colon = item.n ? memchr(item.p, ':', item.n) : NULL;
	size_t n = colon ? (size_t)(colon - item.p) : item.n;

	field->source = trimmed(item.p, n);
	field->target = colon ? trimmed(colon + 1, item.n - n - 1) : field->source;
	if (!field->source.n || !field->target.n)
		return bad_value(l, "fields", "an empty name in the list");
	if (span_is(field->source, "*"))
		return bad_value(l, "fields", "* stands alone, or there is a list of names");
	if (field->target.n > NAME_BYTES_MAX)
		return bad_value(l, "fields", "a name over 63 bytes, more than the server takes");
	return 0;
}

static int split_fields(struct loading *l)
{
	struct conf *c = l->conf;
	const char *p = c->fields;

	if (span_is(trimmed(p, strlen(p)), "*"))
		return 0;
	size_t max = 1;
	for (const char *q = p; *q; q++)
		max += *q == ',';
	if (max > COLUMNS_MAX)
		return bad_value(l, "fields", "more columns than a table can have");
	c->field = mem_alloc(max * sizeof *c->field);
	for (; c->nfield < max; p += strcspn(p, ",") + 1) {
		struct field *field = &c->field[c->nfield++];
		if (split_field(l, trimmed(p, strcspn(p, ",")), field) < 0)
			return l->err->code;
		for (size_t i = 0; i + 1 < c->nfield; i++)
			if (span_eq(c->field[i].target, field->target))
				return bad_value(l, "fields", "two columns with one name");
	}
	return 0;
}

static int choose_period(struct loading *l)
{
	static const char *const methods[] = {
		[PERIOD_YEARLY] = "yearly", [PERIOD_MONTHLY] = "monthly", [PERIOD_WEEKLY] = "weekly",
		[PERIOD_DAILY] = "daily", [PERIOD_HOURLY] = "hourly",
	};
	struct conf *c = l->conf;

	for (enum period_method m = PERIOD_YEARLY; m <= PERIOD_HOURLY; m++)
		if (strcmp(c->part_method, methods[m]) == 0)
			c->period.method = m;
	if (c->period.method == PERIOD_NONE)
		return bad_value(l, "part_method", "neither hourly, daily, weekly, monthly nor yearly");
	if (!period_zone(&c->period, c->part_timezone))
		return bad_value(l, "part_timezone", "neither text, UTC nor a fixed offset such as +02:00");
	if (!c->part_field)
		c->period.method = PERIOD_NONE;
	return 0;
}

/* Index of value among words, which end with NULL; else an error that says why. */
static int choose(struct loading *l, const char *name, const char *value, const char *const *words, const char *why)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(value, words[i]) == 0)
			return i;
	return bad_value(l, name, why);
}

static int choose_on_error(struct loading *l)
{
	static const char *const words[] = {
		[ON_ERROR_STOP] = "stop", [ON_ERROR_DEAD_LETTER] = "dead_letter", [ON_ERROR_SKIP] = "skip", NULL,
	};
	int word = choose(l, "on_error", l->conf->on_error, words, "neither stop, dead_letter nor skip");

	l->conf->error = (enum on_error)word;
	return word < 0 ? word : 0;
}

static int choose_keep(struct loading *l)
{
	static const char *const actions[] = { "drop", "detach", NULL };
	static const char *const late[] = {
		[PART_LATE_CREATE] = "create", [PART_LATE_SKIP] = "skip", [PART_LATE_ERROR] = "error", NULL,
	};
	struct conf *c = l->conf;
	int action = choose(l, "part_keep_action", c->part_keep_action, actions, "neither drop nor detach");
	int word = choose(l, "part_late", c->part_late, late, "neither create, skip nor error");

	if (l->err->code)
		return l->err->code;
	c->detach = action;
	c->late = (enum part_late)word;
	if (c->part_keep && !period_age(&c->keep, c->part_keep))
		return bad_value(l, "part_keep", "not a number from 1 to 99999 and hours, days, weeks, months or years");
	if (c->part_keep && !c->part_field)
		return bad_value(l, "part_keep", "it needs part_field: there are no partitions without it");
	if (!c->part_keep && c->late != PART_LATE_CREATE)
		return bad_value(l, "part_late", "it needs part_keep: without it no row is late");
	if (c->part_premake && (!c->part_field || !c->part_template))
		return bad_value(l, "part_premake", "it needs part_field and part_template");
	return 0;
}

static int choose_log_format(struct loading *l)
{
	struct conf *c = l->conf;

	c->log_json = strcmp(c->log_format, "json") == 0;
	return c->log_json || strcmp(c->log_format, "text") == 0 ? 0 : bad_value(l, "log_format", "neither text nor json");
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

/* Files that are replaced whole must not be any other one. */
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

/* Expands part_template once, for what is wrong with it whatever the event. */
static int try_template(struct loading *l)
{
	const struct conf *c = l->conf;
	struct buf part = { 0 }, out = { 0 };
	struct err why = { 0 };
	struct span pkey = span_of("id"), at = { NULL, 0 }, column = { NULL, 0 };
	char suffix[PERIOD_SUFFIX_MAX];

	if (!c->part_template)
		return 0;
	period_suffix(&c->period, 0, suffix);
	buf_fmt(&part, "%.*s%s", (int)c->table.n, c->table.p, suffix);
	if (c->period.method != PERIOD_NONE)
		at = span_of("2000-01-01");
	if (c->part_field && strcmp(c->part_field, "_EVTIME") != 0)
		column = span_of(c->part_field);
	struct template_words words = {
		.schema = c->schema, .parent = c->table, .part = { part.p, part.len }, .pkey = &pkey, .npkey = 1,
		.part_field = column, .start = at, .end = at,
	};
	if (template_expand(&out, span_of(c->part_template), &words, &why) < 0) {
		const char *what = why.msg;
		if (strncmp(what, "part_template", strlen("part_template")) == 0)       /* the key is told already */
			what += strlen("part_template") + strspn(what + strlen("part_template"), ": ");
		bad_value(l, "part_template", what);
	}
	buf_free(&part);
	buf_free(&out);
	return l->err->code;
}

static int load_keys(struct loading *l)
{
	for (size_t i = 0; i < NKEYS; i++)
		read_key(l, &keys[i]);
	warn_unknown(l);        /* in the face of an error too: a key misspelt may be its cause */
	choose_state_file(l->conf);
	if (l->err->code)
		return l->err->code;
	if (check_files(l) < 0 || choose_log_format(l) < 0 || choose_period(l) < 0 || choose_on_error(l) < 0 || choose_keep(l) < 0 ||
	    split_dest_table(l) < 0 || split_fields(l) < 0)
		return l->err->code;
	return try_template(l);
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
	for (size_t i = 0; i < NKEYS && strcmp(encoding, "UTF8") != 0; i++) {
		const char *text = keys[i].type == STRING ? *(char *const *)(const void *)((const char *)conf + keys[i].at) : NULL;
		for (; text && *text; text++)
			if (*text & 0x80)
				return err_set(e, ERR_SHAPE, "%s has a character outside of ASCII, and src_db is in encoding %s:"
					" that needs a source in UTF8", keys[i].name, encoding);
	}
	return 0;
}

void conf_free(struct conf *conf)
{
	for (size_t i = 0; i < NKEYS; i++)
		if (is_text(&keys[i]))
			free(*(char **)(void *)((char *)conf + keys[i].at));
	free(conf->file);
	free(conf->field);
	buf_free(&conf->warnings);
	*conf = (struct conf){ 0 };
}

/* ---- showing */

static void show_text(struct buf *out, const char *text)
{
	for (;; text++) {
		size_t n = strcspn(text, "\n");
		buf_add(out, text, n);
		text += n;
		if (!*text)
			break;
		buf_str(out, text[1] && text[1] != '\n' ? "\n    " : "\n");
	}
	buf_str(out, "\n");
}

static void show_seconds(struct buf *out, int64_t ms)
{
	buf_fmt(out, "%lld", (long long)(ms / 1000));
	if (ms % 1000) {
		buf_fmt(out, ".%03d", (int)(ms % 1000));
		while (out->p[out->len - 1] == '0')
			out->len--;
	}
	buf_str(out, "\n");
}

void conf_show(const struct conf *conf, struct buf *out, char *(*mask)(const char *conninfo))
{
	for (size_t i = 0; i < NKEYS; i++) {
		const void *at = (const char *)conf + keys[i].at;
		const char *text = is_text(&keys[i]) ? *(char *const *)at : NULL;
		if (is_text(&keys[i]) && !text)
			continue;
		buf_fmt(out, "%s = ", keys[i].name);
		if (keys[i].type == CONNINFO) {
			char *masked = mask(text);
			show_text(out, masked);
			free(masked);
		} else if (text) {
			show_text(out, text);
		} else if (keys[i].type == SECONDS) {
			show_seconds(out, *(const int64_t *)at);
		} else {
			buf_fmt(out, "%lld\n", keys[i].type == BOOLEAN ? (long long)*(const bool *)at :
				(long long)*(const int64_t *)at);
		}
	}
}
