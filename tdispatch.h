/*
 * tdispatch: moves row events from a PgQ queue into partitioned tables, exactly once.
 *
 * A row's way: load/batch.c takes a batch of the queue (load/ahead.c, pg/qbatch.c), load/pass.c
 * reads its events by COPY from the source (pg/copy.c). load/dests.c finds the destination of the
 * event's table, event/route.c the columns in its row (urlenc.c and event/json.c are the grammars),
 * event/period.c the partition in a date. pg/build.c creates the partition in the transaction that
 * loads it, or pg/creation.c in one of its own (pg/partsql.c, event/template.c: its SQL).
 * sink/sink.c sends the rows by COPY to the target. With row_mode = keep_latest they go to a
 * staging table (load/latest.c, pg/stage.c), which load/merge.c merges at the end of the batch. The
 * target's commit records the position too (load/txn.c, pg/position.c); only then is the queue told
 * that the batch is done.
 *
 * Where a table is the source, load/from.c copies it slice by slice; load/next.c says which is
 * next, by the marks of those before (pg/resume.c). load/extract.c chooses the columns, pg/scan.c
 * reads the rows, load/lines.c finds their partitions.
 *
 * Which folder answers, from the lowest level up:
 *
 *   base/    how are bytes, text, errors, logs, files, signals handled?
 *   event/   which columns, values and partition does an event have? Pure, and fuzzed.
 *   conf/    what do file, environment and command line ask for? ini.c is the file's grammar.
 *   pg/      what do we send to the two servers, and what do their answers mean?
 *   sink/    where do rows wait, and which COPY sends them when?
 *   report/  what do others see of a run: state, metrics, progress, is all well?
 *   load/    what happens to a batch, in which order?
 *   ops/     what do the switches that inspect and set up do?
 *
 * tdispatch.c is main: what each switch does, and the exit codes. load/run.c is the loop of
 * connecting, working and sleeping; load/reload.c reads the config again in between.
 *
 * A file includes the header of its own folder, which includes those of the folders below, so it
 * cannot call upward. What only a folder's own files need is in its private.h (pg/pq.h), or, where
 * only some of them do, in a header of these. ini.c and urlenc.c know base/ alone. Within a folder
 * a file calls only those whose section in the header is above its own (make check-layers).
 */
#ifndef TDISPATCH_H
#define TDISPATCH_H

#include "ops/ops.h"

#endif
