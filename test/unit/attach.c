/* Tests of attach.c: templates whose locks are known. */
#include "../../base/buf.c"
#include "../../event/attach.c"
#include "unit.h"

#define CREATE "create table _DEST_TABLE (like _PARENT including defaults);"
#define INHERITS "create table _DEST_TABLE (check (_PART_FIELD >= _PART_START), x text default" \
	" 'a') inherits (_PARENT);"
#define ATTACH "alter table _PARENT attach partition _DEST_TABLE" \
	" for values from (_PART_START) to (_PART_END)"

static const struct { const char *text; bool wanted; } cases[] = {
	{ CREATE ATTACH, true },
	{ CREATE ATTACH ";", true },
	{ " \n" CREATE "\n\n;" ATTACH " ; ;\n", true },
	{ "CREATE TABLE _DEST_TABLE(LIKE _PARENT); ALTER TABLE _PARENT ATTACH PARTITION _DEST_TABLE"
		" FOR VALUES IN (1)", true },
	{ "create table _DEST_TABLE (like _PARENT, primary key (_PKEY)) with (fillfactor ="
		" 90);" ATTACH, true },
	{ CREATE "alter table only _DEST_TABLE add primary key (_PKEY);" ATTACH, true },
	{ CREATE "alter table _DEST_TABLE add constraint _DEST_TABLE_pkey primary key (id);" ATTACH,
		true },
	{ CREATE ATTACH "; create index on _DEST_TABLE (note); create unique index _DEST_TABLE_u on"
		" _DEST_TABLE (id)", true },
	{ CREATE "create index \"the _DEST_TABLE\" on _DEST_TABLE (note) where note <> 'it''s;"
		" so';" ATTACH, true },
	{ CREATE "alter table _DEST_TABLE add x int default 0 not null, add y text default 'a', add"
		" z text default null;" ATTACH, true },
	{ "create table _DEST_TABLE (like _PARENT, x text default current_user);" ATTACH, true },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values with (modulus 4,"
		" remainder 1)", true },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values from (date"
		" _PART_START, minvalue) to (maxvalue, 'x')", true },
	{ "-- it's what _PARENT is\n" CREATE "-- attach\r" ATTACH "--", true },
	{ CREATE "grant select, insert (id) on _DEST_TABLE to group reporting;" ATTACH, true },
	{ INHERITS, true },
	{ "create table _DEST_TABLE () inherits (_PARENT) tablespace large", true },
	{ INHERITS "alter table only _DEST_TABLE add constraint _DEST_TABLE_pkey primary key"
		" (_PKEY); grant all on table _DEST_TABLE to a, b; create index on _DEST_TABLE"
		" (note)", true },

	{ "", false },
	{ ";", false },
	{ INHERITS ATTACH, false },
	{ "create table _DEST_TABLE () inherits (_PARENT, other);", false },
	{ "create table _DEST_TABLE () inherits (other);", false },
	{ "create table _DEST_TABLE (like _PARENT) inherits (_PARENT);", false },
	{ "create table _DEST_TABLE (like other) inherits (_PARENT);", false },
	{ "create table _DEST_TABLE (x int references other) inherits (_PARENT);", false },
	{ "create table _DEST_TABLE (x int); comment on table x is 'inherits (_PARENT)'", false },
	{ "create table _DEST_TABLE (x int)", false },
	{ INHERITS "alter table _DEST_TABLE inherit other", false },
	{ INHERITS "grant select on _DEST_TABLE, other to reporting", false },
	{ INHERITS "grant reporting to other", false },
	{ INHERITS "grant select on all tables in schema public to other", false },
	{ INHERITS "grant select on _PARENT to reporting", false },
	{ CREATE, false },
	{ ATTACH, false },
	{ ATTACH ";" CREATE, false },
	{ CREATE ATTACH ";" ATTACH, false },
	{ CREATE CREATE ATTACH, false },
	{ CREATE ATTACH "; commit", false },
	{ CREATE ATTACH "; select 1", false },
	{ CREATE "set local search_path = x;" ATTACH, false },
	{ "begin;" CREATE ATTACH, false },
	{ "create table if not exists _DEST_TABLE (like _PARENT);" ATTACH, false },
	{ "create table _DEST_TABLE (like _PARENT) partition by range (id);" ATTACH, false },
	{ "create table _DEST_TABLE (like _PARENT, foreign key (id) references other);" ATTACH,
		false },
	{ "create table _DEST_TABLE (like _PARENT, x int references other);" ATTACH, false },
	{ "create table _DEST_TABLE (like _PARENT) inherits (other);" ATTACH, false },
	{ "create table _DEST_TABLE (like other);" ATTACH, false },
	{ "create table _DEST_TABLE_x (like _PARENT);" ATTACH, false },
	{ "create table _dest_table (like _PARENT);" ATTACH, false },
	{ "create table _DEST_TABLE partition of _PARENT for values from (_PART_START) to"
		" (_PART_END);", false },
	{ CREATE "alter table _DEST_TABLE add foreign key (id) references other;" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x int, inherit other;" ATTACH, false },
	{ CREATE "alter table other add x int;" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x int default f();" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x int default other.f (1);" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x int default \"f\"();" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x int default (f());" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x int default 1 + f();" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add x bool default 1 is distinct from f();" ATTACH,
		false },
	{ "create table _DEST_TABLE (like _PARENT, x int default f());" ATTACH, false },
	{ "create table _DEST_TABLE (like _PARENT, like other);" ATTACH, false },
	{ "create table _DEST_TABLE (like _PARENT) as select * from other;" ATTACH, false },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values in (f())", false },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values in (other.f(1))",
		false },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values in (\"f\"(1))",
		false },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values from (_PART_START) to"
		" (_PART_END::date)", false },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE for values from (1) to (f (2))",
		false },
	{ CREATE "create index concurrently on _DEST_TABLE (id);" ATTACH, false },
	{ CREATE "create index on _PARENT (id);" ATTACH, false },
	{ CREATE "create index if not exists i on _DEST_TABLE (id);" ATTACH, false },
	{ CREATE "alter table _PARENT attach partition _DEST_TABLE default", false },
	{ CREATE "alter table other attach partition _DEST_TABLE for values in (1)", false },
	{ CREATE "alter table _PARENT attach partition other for values in (1)", false },
	{ CREATE "do $$ begin lock table other; end $$;" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add check (note <> $$;$$);" ATTACH, false },
	{ CREATE "alter table _DEST_TABLE add check (note <> E'\\'; lock table other; --');" ATTACH,
		false },
	{ CREATE "/* ' */ lock table other; /* ' */" ATTACH, false },
	{ "create table _DEST_TABLE (like _PARENT including all); lock table other;" ATTACH,
		false },
	{ INHERITS "lock table other", false },
	{ INHERITS "create index on _DEST_TABLE ((note || $$x$$))", false },
	{ CREATE "alter table _DEST_TABLE add check (note <> 'x);" ATTACH, false },
};

/* In pieces: before the rows, indexes, and ATTACH. */
static const struct { const char *head, *tail, *attach; } splits[] = {
	{ CREATE, "", ATTACH },
	{ CREATE, "alter table only _DEST_TABLE add primary key (_PKEY);", ATTACH ";" },
	{ CREATE " ", "alter table _DEST_TABLE add constraint x unique (a, b) with (fillfactor ="
		" 90) deferrable; create index on _DEST_TABLE (note);\n-- last\n", ATTACH "; --" },
	{ CREATE "alter table _DEST_TABLE add check (id > 0), add x int;", "create unique index"
		" _DEST_TABLE_i on _DEST_TABLE (id); alter table _DEST_TABLE add constraint"
		" _DEST_TABLE_pkey primary key using index _DEST_TABLE_i;", ATTACH },
	{ CREATE "alter table _DEST_TABLE add primary key (id), add x int;", "", ATTACH },
	{ CREATE "alter table _DEST_TABLE add primary key (id), alter note set not null;", "create"
		" index on _DEST_TABLE (note);", ATTACH },
	{ "create table _DEST_TABLE (like _PARENT including all, primary key (id));", "", ATTACH },
	{ CREATE, "", ATTACH "; grant select on _DEST_TABLE to a" },
	{ CREATE "grant select on _DEST_TABLE to a;", "create index on _DEST_TABLE (note); grant"
		" insert on _DEST_TABLE to a;", ATTACH },
	{ INHERITS, "", "" },
	{ INHERITS, "alter table _DEST_TABLE add primary key (_PKEY); grant select on _DEST_TABLE"
		" to a", "" },
};

/* What LIKE is told to exclude besides comes before the rest, if it copies indexes. */
static const struct { const char *before, *rest; } likes[] = {
	{ "create table _DEST_TABLE (like _PARENT including all", ");" ATTACH },
	{ "create table _DEST_TABLE (LIKE _PARENT INCLUDING defaults including INDEXES excluding"
		" constraints -- x\n", ", check (id > 0));" ATTACH },
	{ "create table _DEST_TABLE (like _PARENT excluding indexes including all", ");" ATTACH },
	{ "", CREATE ATTACH },
	{ "", "create table _DEST_TABLE (like _PARENT);" ATTACH },
	{ "", "create table _DEST_TABLE (like _PARENT including all excluding indexes);" ATTACH },
	{ "", "create table _DEST_TABLE (like _PARENT including indexes excluding all);" ATTACH },
	{ "", INHERITS },
};

/* Their statements have no such order. */
static const char *const mixed[] = {
	CREATE ATTACH "; create index on _DEST_TABLE (note)",
	CREATE ATTACH "; alter table _DEST_TABLE add primary key (id)",
	CREATE ATTACH "; alter table _DEST_TABLE add x int",
	CREATE "create index on _DEST_TABLE (note); alter table _DEST_TABLE add x int;" ATTACH,
	CREATE "create index on _DEST_TABLE (note); alter table _DEST_TABLE add primary key (id),"
		" add x int;" ATTACH,
};

static void check_split(const char *head, const char *tail, const char *attach)
{
	struct buf text = { 0 };
	struct attach_split split;

	buf_fmt(&text, "%s%s%s", head, tail, attach);
	check_int(buf_cstr(&text), attach_is_all((struct span){ text.p, text.len }, &split), true);
	check_int(text.p, split.mixed, false);
	check_int(text.p, (int64_t)split.tail, (int64_t)strlen(head));
	check_int(text.p, (int64_t)split.attach, (int64_t)(strlen(head) + strlen(tail)));
	check_int(text.p, split.parent > 0, split.inherits);
	struct span parent = { text.p + split.parent, split.parent_end - split.parent };
	check_span("parent", (struct span){ text.p, text.len }, parent,
		span_of(split.inherits ? "_PARENT" : ""));
	buf_free(&text);
}

static void check_like(const char *before, const char *rest)
{
	struct buf text = { 0 };
	struct attach_split split;

	buf_fmt(&text, "%s%s", before, rest);
	check_int(buf_cstr(&text), attach_is_all((struct span){ text.p, text.len }, &split), true);
	check_int(text.p, (int64_t)split.like, (int64_t)strlen(before));
	buf_free(&text);
}

int main(void)
{
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct span text = span_of(cases[i].text);
		char *copy = unit_exact(text);
		struct attach_split split;
		check_int(cases[i].text, attach_is_all((struct span){ copy, text.n }, &split),
			cases[i].wanted);
		check_int(cases[i].text, split.mixed ? split.tail == text.n : cases[i].wanted,
			true);
		if (!cases[i].wanted)
			check_int(cases[i].text, split.mixed && !split.inherits && split.like +
				split.parent + split.parent_end == 0, true);
		free(copy);
	}
	for (size_t i = 0; i < COUNT(splits); i++)
		check_split(splits[i].head, splits[i].tail, splits[i].attach);
	for (size_t i = 0; i < COUNT(likes); i++)
		check_like(likes[i].before, likes[i].rest);
	for (size_t i = 0; i < COUNT(mixed); i++) {
		struct attach_split split;
		check_int(mixed[i], attach_is_all(span_of(mixed[i]), &split), true);
		check_int(mixed[i], split.mixed && split.tail == strlen(mixed[i]), true);
	}
	return unit_end();
}
