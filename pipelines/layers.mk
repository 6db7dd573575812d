# The schedule of layer-run written as topology: one rule a layer.  A layer's input is a named file, which is also the
# spill; make is the loop, and a run that was killed goes on where it stood when make is called again.  The result has
# the bytes of one layer-run over all layers.
#
#	make -f layers.mk MODEL=dir TOKENS=tokens.tms [DIR=.] [LAYERS=n] [TAP=site/pool] [KEEP=no]
#
# reads	TOKENS		what tok wrote
# writes	DIR/final.tms	the stream after the last layer, for unembed
#	DIR/resid.L.tms	the stream that enters layer L; with KEEP=no only until layer L is done
#	DIR/acts.tms	with TAP: that site of all layers, as one layer-run --tap writes it
#
# LAYERS is asked of config.json.  LAYER_RUN='ssh host layer-run' or 'srun layer-run' runs the layers elsewhere, and
# LAYER_RUN='layer-run -j 8' on fewer threads.  Nothing half-written has a name that make looks for.

DIR = .
LAYERS := $(shell jq '.num_hidden_layers // .n_layer' $(MODEL)/config.json)
LAYER_RUN = layer-run

last := $(shell expr $(LAYERS) - 1)
layers := $(shell seq 0 $(last))
resid = $(DIR)/resid.$(1).tms
tapped = $(layers:%=$(DIR)/acts.%.tms)

all: $(DIR)/final.tms $(if $(TAP),$(DIR)/acts.tms)

$(DIR)/resid.0.tms: $(TOKENS)
	embed -m $(MODEL) <$< >$@.part
	mv $@.part $@

# layer L, the one after it
define layer
$(call resid,$(2)): $(call resid,$(1))
	$(LAYER_RUN) -m $(MODEL) --from $(1) --to $(2) \
		$(if $(TAP),--tap $(TAP)=$(DIR)/acts.$(1).tms) <$$< >$$@.part
	mv $$@.part $$@
	$(if $(filter no,$(KEEP)),rm -f $$<)
endef
$(foreach l,$(layers),$(eval $(call layer,$(l),$(shell expr $(l) + 1))))

$(DIR)/final.tms: $(call resid,$(LAYERS))
	ln -f $< $@

# A layer's tap is written before the stream that leaves it.
$(tapped): $(call resid,$(LAYERS))
$(DIR)/acts.tms: $(tapped)
	tcat -o $@ $(tapped)

# An absent file between two layers is not missed while a later one is there.
.SECONDARY: $(if $(filter no,$(KEEP)),$(foreach l,$(layers),$(call resid,$(l))))
.PHONY: all
.DELETE_ON_ERROR:
