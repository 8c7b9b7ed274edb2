/*
 * Which keys there are: one table of names, types and defaults, in the order of the manual.
 * Reading is three steps: the values that were given, those of our keys with %(name)s replaced
 * and their types checked, and what is worked out from them.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf.h"

enum type {
	STRING, PATH, CONNINFO,
	INT,                            /* int64_t from min to max */
	WORD,                           /* an enum, whose value min is the first of words */
	SECONDS                         /* int64_t milliseconds */
};

struct key {
	const char *name, *alias;
	enum type type;
	size_t at;                      /* offset in struct conf */
	const char *def;                /* NULL: unset */
	bool required;
	int64_t min, max;
	const char *words;              /* separated by blanks */
};

#define SECONDS_END 1e9                 /* about 30 years */

#define AT(member) .at = offsetof(struct conf, member)

static const struct key keys[] = {
	{ "job_name", NULL, STRING, AT(job_name), NULL, true },
	{ "pidfile", NULL, PATH, AT(pidfile) },
	{ "state_file", NULL, PATH, AT(state_file) },
	{ "metrics_file", NULL, PATH, AT(metrics_file) },
	{ "logfile", NULL, PATH, AT(logfile) },
	{ "log_size", NULL, INT, AT(log_size), "10485760", .max = INT64_MAX },
	{ "log_count", NULL, INT, AT(log_count), "3", .max = 1000 },
	{ "log_format", NULL, WORD, AT(log_format), "text", .words = "text json" },
	{ "use_skylog", NULL, STRING, AT(use_skylog), "0" },
	{ "loop_delay", NULL, SECONDS, AT(loop_delay), "1" },
	{ "exception_sleep", NULL, SECONDS, AT(exception_sleep), "20" },
	{ "connection_lifetime", NULL, SECONDS, AT(connection_lifetime), "1200" },
	{ "queue_name", "pgq_queue_name", STRING, AT(queue_name), NULL, true },
	{ "consumer_name", "pgq_consumer_id", STRING, AT(consumer_name), "%(job_name)s", true },
	{ "src_db", NULL, CONNINFO, AT(src_db), NULL, true },
	{ "dst_db", NULL, CONNINFO, AT(dst_db), NULL, true },
	{ "dest_table", NULL, STRING, AT(dest.dest_table), NULL, true },
	{ "fields", NULL, STRING, AT(dest.fields), "*", true },
	{ "part_field", "part_column", STRING, AT(dest.part_field) },
	{ "part_method", NULL, WORD, AT(dest.part_method), "daily", .min = PERIOD_YEARLY,
		.words = "yearly monthly weekly daily hourly" },
	{ "part_timezone", NULL, STRING, AT(dest.part_timezone), "text", true },
	{ "part_template", NULL, STRING, AT(dest.part_template) },
	{ "part_keep", NULL, STRING, AT(dest.part_keep) },
	{ "part_keep_action", NULL, WORD, AT(dest.part_keep_action), "drop",
		.words = "drop detach" },
	{ "part_late", NULL, WORD, AT(dest.part_late), "create", .words = "create skip error" },
	{ "part_premake", NULL, INT, AT(dest.part_premake), "0", .max = 1000 },
	{ "batch_min_events", NULL, INT, AT(batch_min_events), "200000", .max = INT32_MAX },
	{ "lanes", NULL, INT, AT(lanes), "1", .min = 1, .max = LANES_MAX },
	{ "on_error", NULL, WORD, AT(on_error), "stop", .words = "stop dead_letter skip" },
	{ "max_errors", NULL, INT, AT(max_errors), "1000", .max = DEAD_MAX },
	{ "retry_limit", NULL, SECONDS, AT(retry_limit), "60" },
	{ "server_timeout", NULL, SECONDS, AT(server_timeout), "900" },
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

static const char *default_of(const struct loading *l, const struct key *key)
{
	return strcmp(key->name, "job_name") == 0 ? l->values.job_name : key->def;
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

/* Does a first line have what Python 2 took for the beginning of a comment? */
static bool has_inline_comment(const char *raw)
{
	size_t at = strcspn(raw, ";\n");

	return raw[at] == ';' && at > 0 && strchr(" \t\v\f\r", raw[at - 1]);
}

/* What table_dispatcher 2.1 read in another way than today's grammar has it. */
static void check_semicolons(struct loading *l, const struct value *value)
{
	bool is_template = strcmp(value->key, "part_template") == 0;

	if (is_template && value->semicolon_line)
		err_set(l->err, ERR_CONF, "%s: line %zu begins with a ; and so is a comment, where table_dispatcher 2.1"
			" ran it as SQL: put the ; at the end of the line before, or begin the comment with --",
			value->where, value->semicolon_line);
	if (is_template || !has_inline_comment(value->raw))
		return;
	if (l->values.old)
		err_set(l->err, ERR_CONF, "%s: a ; after a blank began a comment in table_dispatcher 2.1, and is part of the"
			" value today: give the comment a line of its own, or where it is no comment name the section [tdispatch]",
			value->where);
	else
		buf_fmt(&l->conf->warnings, "%s: the ; is part of the value: a comment has a line of its own\n", value->where);
}

/* The raw value behind a name in %(name)s. A key that is empty has its default. */
static const char *lookup(void *ctx, const char *name)
{
	struct loading *l = ctx;
	const struct key *key = find_key(name);
	struct value *value = key ? given(l, key) : values_find(&l->values, name);
	const char *def = key ? default_of(l, key) : NULL;

	if (value && !value->used && (value->from == VALUE_DEFAULT || value->from == VALUE_FILE))
		check_semicolons(l, value);
	if (value)
		value->used = true;
	return value && (*value->raw || !def) ? value->raw : def;
}

static bool parse_int(const struct key *key, const char *text, int64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	return !errno && end != text && !*end && *value >= key->min && *value <= key->max;
}

/* Takes one word off *words: the empty span when there is none. */
static struct span next_word(const char **words)
{
	struct span word = { *words, strcspn(*words, " ") };

	*words += word.n + strspn(*words + word.n, " ");
	return word;
}

static bool parse_word(const struct key *key, const char *text, unsigned *value)
{
	const char *words = key->words;

	for (*value = (unsigned)key->min; *words; ++*value)
		if (span_is(next_word(&words), text))
			return true;
	return false;
}

static struct span word_of(const struct key *key, unsigned value)
{
	const char *words = key->words;

	for (unsigned n = (unsigned)key->min; n < value; n++)
		next_word(&words);
	return next_word(&words);
}

/* As Python's float() reads it, to the next millisecond: what is not 0 stays so. */
static bool parse_seconds(const char *text, int64_t *ms)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || text[strspn(text, "0123456789.eE+-")] || seconds < 0 || seconds >= SECONDS_END)
		return false;
	*ms = (int64_t)(seconds * 1000 + 0.5);
	if (seconds > 0 && *ms == 0)
		*ms = 1;
	return true;
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

/* Appends what is wrong with the value of a key that holds no text. */
static void say_wanted(const struct key *key, struct buf *why)
{
	const char *words = key->words;

	if (key->type == INT)
		buf_fmt(why, "not a whole number from %" PRId64 " to %" PRId64, key->min, key->max);
	else if (key->type == SECONDS)
		buf_str(why, "not a number of seconds");
	for (const char *before = "neither "; key->type == WORD && *words;) {
		struct span word = next_word(&words);
		buf_fmt(why, "%s%.*s", *words ? before : " nor ", (int)word.n, word.p);
		before = ", ";
	}
}

static bool parse(const struct key *key, const char *text, void *at)
{
	switch (key->type) {
	case INT:
		return parse_int(key, text, at);
	case WORD:
		return parse_word(key, text, at);
	default:
		return parse_seconds(text, at);
	}
}

/* Stores value, a malloc'ed string that becomes the conf's, by the key's type. */
static int store(struct loading *l, const struct key *key, char *value)
{
	void *at = (char *)l->conf + key->at;
	struct buf why = { 0 };

	if (is_text(key)) {
		*(char **)at = key->type == PATH ? expand_home(value) : value;
		return 0;
	}
	if (!parse(key, value, at)) {
		say_wanted(key, &why);
		bad_value(l, key->name, buf_cstr(&why));
		buf_free(&why);
	}
	free(value);
	return l->err->code;
}

/* Malloc'ed; NULL when the key has no value. */
static char *value_of(struct loading *l, const struct key *key, struct err *why)
{
	const char *raw = lookup(l, key->name);
	char *value = raw ? ini_interpolate(raw, lookup, l, why) : NULL;

	if (!value || *value)
		return value;
	free(value);
	raw = default_of(l, key);
	return raw ? ini_interpolate(raw, lookup, l, why) : NULL;
}

static int read_key(struct loading *l, const struct key *key)
{
	const struct value *found = given(l, key), *alias = key->alias ? values_find(&l->values, key->alias) : NULL;
	struct err why = { 0 };

	if (alias && found != alias && found->from == alias->from)
		return bad_value(l, key->name, "two spellings of one key are set");
	char *value = value_of(l, key, &why);
	if (why.code)
		return bad_value(l, key->name, why.msg);
	if (value)
		return store(l, key, value);
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
	l->conf->base_consumer = value_of(l, find_key("consumer_name"), &ignored);
	l->values.job_name = name;
	if (l->conf->base_consumer && strcmp(l->conf->base_consumer, l->conf->consumer_name) != 0)
		return;
	free(l->conf->base_consumer);
	l->conf->base_consumer = NULL;
}

static void warn_part_column(struct loading *l)
{
	const struct value *value = given(l, find_key("part_field"));

	if (l->values.old && value && *value->raw && strcmp(value->key, "part_column") == 0)
		buf_fmt(&l->conf->warnings, "%s: table_dispatcher 2.1 never read this key, and wrote to dest_table itself; here it"
			" is part_field: rows go to partitions\n", value->where);
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

static int load_keys(struct loading *l)
{
	struct err why = { 0 };
	const char *key;

	for (size_t i = 0; i < NKEYS; i++)
		read_key(l, &keys[i]);
	warn_unknown(l);        /* in the face of an error too: a key misspelt may be its cause */
	choose_state_file(l->conf);
	if (l->err->code || check_files(l) < 0)
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
	free(conf->dest.field);
	free(conf->base_name);
	free(conf->base_consumer);
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

static void show_masked(struct buf *out, const char *conninfo, char *(*mask)(const char *conninfo))
{
	char *masked = mask(conninfo);

	show_text(out, masked);
	free(masked);
}

static void show_key(struct buf *out, const struct key *key, const void *at,
	char *(*mask)(const char *conninfo))
{
	struct span word;

	switch (key->type) {
	case STRING:
	case PATH:
		show_text(out, *(char *const *)at);
		break;
	case CONNINFO:
		show_masked(out, *(char *const *)at, mask);
		break;
	case INT:
		buf_fmt(out, "%" PRId64 "\n", *(const int64_t *)at);
		break;
	case WORD:
		word = word_of(key, *(const unsigned *)at);
		buf_fmt(out, "%.*s\n", (int)word.n, word.p);
		break;
	case SECONDS:
		show_seconds(out, *(const int64_t *)at);
		break;
	}
}

void conf_show(const struct conf *conf, struct buf *out, char *(*mask)(const char *conninfo))
{
	for (size_t i = 0; i < NKEYS; i++) {
		const void *at = (const char *)conf + keys[i].at;
		if (is_text(&keys[i]) && !*(char *const *)at)
			continue;
		buf_fmt(out, "%s = ", keys[i].name);
		show_key(out, &keys[i], at, mask);
	}
}
