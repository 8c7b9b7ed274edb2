/*
 * Which keys there are: one table of names, types and defaults, in the order of the manual.
 * Reading is three steps: the file's entries and the overrides, the values of our keys with
 * %(name)s replaced and their types checked, and what is worked out from them.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tdispatch.h"

enum type { STRING, PATH, CONNINFO, BYTES, COUNT, SMALL, LANES, ERRORS, BOOLEAN, SECONDS };

struct key {
	const char *name, *alias;
	enum type type;
	size_t at;                      /* offset in struct conf */
	const char *def;                /* NULL: unset */
	bool required;
};

static const struct key keys[] = {
	{ "job_name", NULL, STRING, offsetof(struct conf, job_name), "%(job_name)s", true },
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
};

#define NKEYS (sizeof keys / sizeof *keys)

static bool is_text(const struct key *key)
{
	return key->type == STRING || key->type == PATH || key->type == CONNINFO;
}

struct loading {
	struct conf *conf;
	struct ini ini;
	char *text;
	char *const *sets;
	size_t nsets;
	char *names[5];                 /* values of builtin[], below */
	struct err *err;
};

static const char *const builtin[] = { "job_name", "service_name", "host_name", "config_dir", "config_file" };

/* ---- the file and the names in it */

static char *read_file(const char *path, size_t *n, struct err *e)
{
	FILE *f = fopen(path, "rb");
	struct buf b = { 0 };
	size_t got;

	if (f) {
		do {
			got = fread(buf_reserve(&b, 65536), 1, 65536, f);
			b.len += got;
		} while (got > 0);
	}
	if (!f || ferror(f)) {
		err_set(e, ERR_CONF, "cannot read config file %s: %s", path, strerror(errno));
		buf_free(&b);
	}
	if (f)
		fclose(f);
	*n = b.len;
	buf_cstr(&b);
	return b.p;
}

/* An override "key=value" of that key, the last one given; NULL when there is none. */
static const char *find_set(const struct loading *l, const char *key)
{
	size_t n = strlen(key);

	for (size_t i = l->nsets; i-- > 0;)
		if (strncasecmp(l->sets[i], key, n) == 0 && l->sets[i][n] == '=')
			return l->sets[i] + n + 1;
	return NULL;
}

/* The raw value that the command line or the file gives a key, or NULL. */
static const char *given_value(const struct loading *l, const char *name)
{
	const char *set = find_set(l, name);
	struct ini_entry *entry = set ? NULL : ini_find(&l->ini, l->conf->section, name);

	if (entry)
		entry->used = true;
	return entry ? entry->value : set;
}

static const char *lookup(void *ctx, const char *name)
{
	const struct loading *l = ctx;
	const char *value = given_value(l, name);

	for (size_t i = 0; i < sizeof builtin / sizeof *builtin && !value; i++)
		if (strcmp(builtin[i], name) == 0)
			value = l->names[i];
	for (size_t i = 0; i < NKEYS && !value; i++) {
		if (strcmp(keys[i].name, name) != 0)
			continue;
		value = keys[i].alias ? given_value(l, keys[i].alias) : NULL;
		return value ? value : keys[i].def;
	}
	return value;
}

/* A percent sign in what is not from the config is no interpolation. */
static char *doubled_percent(const char *s)
{
	struct buf b = { 0 };

	for (; *s; s++)
		buf_fmt(&b, *s == '%' ? "%%%%" : "%c", *s);
	buf_cstr(&b);
	return b.p;
}

static void fill_builtin(struct loading *l)
{
	char path[PATH_MAX], dir[PATH_MAX], base[PATH_MAX], host[256] = "localhost";

	if (!realpath(l->conf->file, path))
		snprintf(path, sizeof path, "%s", l->conf->file);
	memcpy(dir, path, sizeof dir);
	snprintf(base, sizeof base, "%s", basename(path));
	char *dot = strrchr(base, '.');
	if (dot && dot != base)
		*dot = 0;
	gethostname(host, sizeof host - 1);
	l->names[0] = doubled_percent(base);
	l->names[1] = doubled_percent(l->conf->section);
	l->names[2] = doubled_percent(host);
	l->names[4] = doubled_percent(dir);
	l->names[3] = doubled_percent(dirname(dir));
}

static int find_section(struct loading *l)
{
	static const char *const names[] = { "table_dispatcher", "tdispatch" };
	const char *found = NULL;

	for (size_t i = 0; i < 2; i++)
		for (size_t k = 0; k < l->ini.n; k++)
			if (span_is(l->ini.entry[k].section, names[i]) && found != names[i]) {
				if (found)
					return err_set(l->err, ERR_CONF, "%s: line %zu: [%s] and [%s] are both there: one job, one section",
						l->conf->file, l->ini.entry[k].line, names[0], names[1]);
				found = names[i];
			}
	if (!found)
		return err_set(l->err, ERR_CONF, "%s: there is no section [%s]", l->conf->file, names[0]);
	l->conf->section = mem_str(found, strlen(found));
	return 0;
}

/* ---- values */

/* "file: line N: key", or "--set key", or "file: key": where a key's value is from. */
static int value_error(struct loading *l, const struct key *key, const char *name, const char *why)
{
	const struct ini_entry *entry = ini_find(&l->ini, l->conf->section, name);

	if (find_set(l, name))
		return err_set(l->err, ERR_CONF, "--set %s: %s", name, why);
	if (entry)
		return err_set(l->err, ERR_CONF, "%s: line %zu: %s: %s", l->conf->file, entry->line, name, why);
	return err_set(l->err, ERR_CONF, "%s: %s: %s", l->conf->file, key->name, why);
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
static int store(struct loading *l, const struct key *key, const char *name, char *value)
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
			value_error(l, key, name, "not a whole number of bytes");
		break;
	case COUNT:
		if (!parse_int64(value, INT32_MAX, at))
			value_error(l, key, name, "not a whole number from 0 to 2147483647");
		break;
	case SECONDS:
		if (!parse_seconds(value, at))
			value_error(l, key, name, "not a number of seconds");
		break;
	case SMALL:
		if (!parse_int64(value, 1000, at))
			value_error(l, key, name, "not a whole number from 0 to 1000");
		break;
	case LANES:
		if (!parse_int64(value, LANES_MAX, at) || *(int64_t *)at == 0)
			value_error(l, key, name, "not a whole number from 1 to 16");
		break;
	case ERRORS:
		if (!parse_int64(value, DEAD_MAX, at))
			value_error(l, key, name, "not a whole number from 0 to 100000");
		break;
	case BOOLEAN:
		if (!parse_bool(value, at))
			value_error(l, key, name, "neither 0 nor 1");
		break;
	}
	free(value);
	return l->err->code;
}

static int read_key(struct loading *l, const struct key *key)
{
	const char *name = key->name;
	struct err why = { 0 };
	bool given = find_set(l, name) || ini_find(&l->ini, l->conf->section, name);

	if (key->alias && (find_set(l, key->alias) || ini_find(&l->ini, l->conf->section, key->alias))) {
		if (given && !find_set(l, key->alias) && !find_set(l, name))
			return value_error(l, key, key->alias, "two spellings of one key are set");
		if (!given || find_set(l, key->alias))
			name = key->alias;
	}
	const char *raw = lookup(l, name);
	char *value = raw ? ini_interpolate(raw, lookup, l, &why) : NULL;
	if (why.code)
		return value_error(l, key, name, why.msg);
	if (value && (*value || !is_text(key)))
		return store(l, key, name, value);
	free(value);
	return key->required ? value_error(l, key, name, "must be set") : 0;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < NKEYS; i++)
		if (strcmp(name, keys[i].name) == 0 || (keys[i].alias && strcmp(name, keys[i].alias) == 0))
			return true;
	return false;
}

/* An unknown key that the value of a known one uses by %(name)s is no typo. */
static void warn_unknown(struct loading *l)
{
	for (size_t i = 0; i < l->ini.n; i++) {
		const struct ini_entry *entry = &l->ini.entry[i];
		if (*entry->key && span_is(entry->section, l->conf->section) && !is_known(entry->key) && !entry->used)
			buf_fmt(&l->conf->warnings, "%s: line %zu: key %.200s is not known: ignored\n", l->conf->file,
				entry->line, entry->key);
	}
}

static int check_sets(struct loading *l)
{
	for (size_t i = 0; i < l->nsets; i++) {
		size_t n = strcspn(l->sets[i], "=");
		char *name = mem_str(l->sets[i], n);
		for (char *c = name; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
		if (!l->sets[i][n])
			err_set(l->err, ERR_CONF, "--set %.100s: it must be key=value", name);
		else if (!is_known(name))
			buf_fmt(&l->conf->warnings, "--set %.200s: the key is not known: ignored\n", name);
		free(name);
	}
	return l->err->code;
}

/* ---- what is worked out */

static const struct key *key_named(const char *name)
{
	const struct key *key = keys;

	while (strcmp(key->name, name) != 0)
		key++;
	return key;
}

static int bad_value(struct loading *l, const char *name, const char *why)
{
	const struct key *key = key_named(name);

	if (key->alias && !find_set(l, name) && !ini_find(&l->ini, l->conf->section, name))
		name = key->alias;
	return value_error(l, key, name, why);
}

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
	if (template_expand(&out, span_of(c->part_template), &words, &why) < 0)
		bad_value(l, "part_template", why.msg);
	buf_free(&part);
	buf_free(&out);
	return l->err->code;
}

static int load_keys(struct loading *l)
{
	if (find_section(l) < 0)
		return l->err->code;
	fill_builtin(l);
	for (size_t i = 0; i < NKEYS; i++)
		read_key(l, &keys[i]);
	warn_unknown(l);        /* in the face of an error too: a key misspelt may be its cause */
	if (l->err->code || check_sets(l) < 0)
		return l->err->code;
	choose_state_file(l->conf);
	if (choose_log_format(l) < 0 || choose_period(l) < 0 || choose_on_error(l) < 0 || choose_keep(l) < 0 ||
	    split_dest_table(l) < 0 || split_fields(l) < 0)
		return l->err->code;
	return try_template(l);
}

int conf_load(struct conf *conf, const char *file, char *const *sets, size_t nsets, struct err *e)
{
	struct loading l = { .conf = conf, .sets = sets, .nsets = nsets, .err = e };
	struct err why = { 0 };
	size_t n = 0;

	*conf = (struct conf){ .file = mem_str(file, strlen(file)) };
	l.text = read_file(file, &n, e);
	if (!e->code && ini_parse(&l.ini, (struct span){ l.text, n }, &why) < 0)
		err_set(e, ERR_CONF, "%s: %s", file, why.msg);
	if (!e->code)
		load_keys(&l);
	for (size_t i = 0; i < sizeof l.names / sizeof *l.names; i++)
		free(l.names[i]);
	ini_free(&l.ini);
	free(l.text);
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
	free(conf->section);
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
