/* Files that are part of the program: the sample config and the licences, NUL-terminated. */
	.section .rodata
	.global conf_sample, conf_licenses
conf_sample:
	.incbin "tdispatch.ini"
	.byte 0
conf_licenses:
	.incbin "LICENSE"
	.ascii "\n---- musl, the C library that is linked in:\n\n"
	.incbin "licenses/musl.txt"
	.ascii "\n---- OpenSSL, which is linked in:\n\n"
	.incbin "licenses/openssl.txt"
	.ascii "\n---- libpq, a part of PostgreSQL, which is linked in:\n\n"
	.incbin "licenses/postgresql.txt"
	.byte 0
	.section .note.GNU-stack, "", %progbits
