/* Tests of values.c: of several values of a key, which one counts, and what messages call it. */
#include "../../base/buf.c"
#include "../../ini.c"
#include "../../conf/values.c"
#include "unit.h"

static char dir[] = "/tmp/tdispatch-unit.XXXXXX";

static const char text[] =
	"[tdispatch]\n"
	"own = section\n"
	"both = section\n"
	"[DEFAULT]\n"
	"both = default\n"
	"inherited = default\n"
	"job_name = default\n"
	"[other]\n"
	"both = other\n"
	"foreign = other\n";

static const struct {
	const char *variable, *set;     /* NULL: none */
	/* wanted NULL: not given; where: as messages begin */
	const char *key, *wanted, *where;
} table[] = {
	{ NULL, NULL, "own", "section", "job.ini: line 2: own" },
	{ NULL, NULL, "both", "section", "job.ini: line 3: both" },
	{ NULL, NULL, "inherited", "default", "job.ini: line 6: inherited" },
	{ NULL, NULL, "foreign", NULL, "job.ini: foreign" },
	{ NULL, NULL, "job_name", "default", "job.ini: line 7: job_name" },
	{ NULL, NULL, "service_name", "tdispatch", "job.ini: service_name" },
	{ "TDISPATCH_BOTH=environment", NULL, "both", "environment", "TDISPATCH_BOTH" },
	{ "TDISPATCH_NEW=environment", NULL, "new", "environment", "TDISPATCH_NEW" },
	{ "TDISPATCH_OWN=100%", NULL, "own", "100%%", "TDISPATCH_OWN" },
	{ "TDISPATCH_JOB_NAME=environment", NULL, "job_name", "environment", "TDISPATCH_JOB_NAME" },
	{ "TDISPATCH_BOTH=", NULL, "both", "section", "job.ini: line 3: both" },
	{ "TDISPATCH_OWN_FILE=", NULL, "own", "section", "job.ini: line 2: own" },
	{ "TDISPATCH_BOTH=environment", "both=set", "both", "set", "--set both" },
	{ "TDISPATCH_BOTH=environment", "BOTH=set", "both", "set", "--set both" },
	{ NULL, "inherited=set", "inherited", "set", "--set inherited" },
	{ NULL, "own=", "own", "", "--set own" },
	{ "TDISPATCH_OWN_FILE=secret", NULL, "own", "of a file 5%%", "TDISPATCH_OWN_FILE" },
	{ "TDISPATCH_OWN_FILE=secret", "own=set", "own", "set", "--set own" },
};

static bool is_known(const char *key)
{
	return strcmp(key, "own") == 0 || strcmp(key, "both") == 0;
}

static void write_file(const char *name, const char *content)
{
	FILE *f = fopen(name, "w");

	if (!f || fputs(content, f) < 0 || fclose(f) != 0) {
		perror(name);
		exit(2);
	}
}

static void load(struct values *v, const char *variable, const char *set, struct err *e)
{
	char *none[] = { NULL }, *one[] = { NULL, NULL }, **before = environ;
	char *sets[] = { set ? mem_str(set, strlen(set)) : NULL };

	one[0] = variable ? mem_str(variable, strlen(variable)) : NULL;
	environ = variable ? one : none;
	values_load(v, "job.ini", sets, set ? 1 : 0, is_known, e);
	environ = before;
	free(one[0]);
	free(sets[0]);
}

static void test_values(void)
{
	struct buf where = { 0 };
	char name[200];

	for (size_t i = 0; i < COUNT(table); i++) {
		const char *variable = table[i].variable, *set = table[i].set;
		struct values v;
		struct err e = { 0 };
		snprintf(name, sizeof name, "%s with %s and %s", table[i].key, variable ? variable :
			"-", set ? set : "-");
		load(&v, variable, set, &e);
		const struct value *value = values_find(&v, table[i].key);
		check_int(name, e.code, 0);
		check_span("value of", span_of(name), span_of(value ? value->raw : NULL),
			span_of(table[i].wanted));
		values_where(&v, table[i].key, &where);
		check_buf("place of", span_of(name), &where, table[i].where);
		values_free(&v);
	}
	buf_free(&where);
}

static void test_errors(void)
{
	static const struct { const char *file, *variable, *set, *wanted; } wrong[] = {
		{ "[x]\n", NULL, NULL, "job.ini: there is no section" },
		{ "[tdispatch]\n[table_dispatcher]\n", NULL, NULL, "job.ini: line 1:"
			" [table_dispatcher] and [tdispatch]" },
		{ "k\n", NULL, NULL, "job.ini: line 1: " },
		{ "[tdispatch]\n", NULL, "no value", "--set no: it must be key=value" },
		{ "[tdispatch]\n", "TDISPATCH_OWN_FILE=none", NULL, "TDISPATCH_OWN_FILE: cannot"
			" read none: " },
	};

	for (size_t i = 0; i < COUNT(wrong); i++) {
		struct values v;
		struct err e = { 0 };
		write_file("job.ini", wrong[i].file);
		load(&v, wrong[i].variable, wrong[i].set, &e);
		check_int(wrong[i].wanted, e.code, ERR_CONF);
		check_span("message", span_of(wrong[i].file),
			(struct span){ e.msg, strnlen(e.msg, strlen(wrong[i].wanted)) },
			span_of(wrong[i].wanted));
		values_free(&v);
	}
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir) < 0) {
		perror(dir);
		return 2;
	}
	write_file("job.ini", text);
	write_file("secret", "of a file 5%\n");
	test_values();
	test_errors();
	unlink("job.ini");
	unlink("secret");
	rmdir(dir);
	return unit_end();
}
