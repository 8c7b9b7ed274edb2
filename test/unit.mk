# Builds the programs $(TESTS) of test/unit/*.c, for test/unit.sh. A test includes what it tests; the
# files after "Linked with:" in its first comment are built once for all tests.

CC = gcc
UNIT_FLAGS = -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
space := $() $()
OUT := build/native/$(subst $(space),,$(notdir $(CC)))/unit-$(firstword $(shell \
	echo '$(UNIT_FLAGS)' | cksum))
COMPILE = $(CC) -std=c11 -D_GNU_SOURCE $(UNIT_FLAGS) -Wall -Wextra -Wshadow -I. -MMD -MP

sources = test/unit/$(1).c base/log.c base/file.c base/text.c \
	$(shell sed -n '/Linked with:/,/\*\//p' test/unit/$(1).c | grep -o '[a-z_/]*\.c')

all: $(TESTS:%=build/test/%)

build/test/%: $(OUT)/%
	@ln -sf ../../$< $@

$(OUT)/obj/%.o: %.c test/unit.mk
	@mkdir -p $(@D)
	@$(COMPILE) -c -o $@ $<

# program NAME
define program
$(OUT)/$(1): $(patsubst %.c,$(OUT)/obj/%.o,$(call sources,$(1)))
	@$(COMPILE) -o $$@ $$^
endef
$(foreach test,$(TESTS),$(eval $(call program,$(test))))

-include $(shell find $(OUT) -name '*.d' 2>/dev/null)

.DELETE_ON_ERROR:
.SECONDARY:
