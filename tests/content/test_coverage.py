"""
Coverage: every entity of the customer's documents has a concept, and a rule or a card that speaks of it.

The matrix is section 9 of KNOWLEDGE.md, row by row, as data. The check is strict: a concept or a rule that is taken
away, a concept that no rule of its row uses any more, and a word that no card says any more are found.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import yaml

from cds_service.facts.derived import COMPUTED
from cds_service.rules.book import RuleBook, load_book
from cds_service.rules.model import Rule

ROOT = Path(__file__).resolve().parents[2]
KNOWLEDGE = Path(os.environ.get("CDS_SHARED") or ROOT.parent / "shared") / "clinical" / "KNOWLEDGE.md"


class Entity(NamedTuple):
    """Something the documents name: the concepts it is known by, the rules that use them, what their cards say."""

    name: str
    rules: str
    concepts: str = ""
    words: tuple[str, ...] = ()


LOCAL, CTD, CALCIPHYLAXIS = "local-tissue-calcinosis", "ctd-calcinosis-workup", "eskd-skin-lesion-calciphylaxis"
GRANULOMA, INFUSION = "granulomatous-hypercalcemia", "iatrogenic-calcinosis"
MISSING, IDIOPATHIC, TUMORAL = "calcinosis-missing-labs", "idiopathic-calcinosis", "tumoral-calcinosis"
PHOSPHATE, PRODUCT, TARGET = "eskd-hyperphosphatemia", "ca-p-product-precipitation", "ca-p-product-target"
THIOSULFATE, KNOWN = "sts-monitoring", "known-calciphylaxis-care"

MATRIX: dict[str, tuple[Entity, ...]] = {
    "acne, burns, bites, varicose veins, rhabdomyolysis, trauma, skin infection": (
        Entity("acne", LOCAL, "dys-acne", ("acne",)),
        Entity("burns", LOCAL, "dys-burn", ("burns",)),
        Entity("bites", LOCAL, "dys-bite", ("bites",)),
        Entity("varicose veins", LOCAL, "dys-varicose", ("varicose veins",)),
        Entity("rhabdomyolysis", f"{LOCAL} {TUMORAL}", "dys-rhabdo"),
        Entity("trauma", LOCAL, "dys-trauma"),
        Entity("skin infection", f"{LOCAL} {CTD}", "inf-skin", ("infection",)),
    ),
    "onchocerciasis, cysticercosis, histoplasmosis, cryptococcosis, intrauterine HSV": (
        Entity("onchocerciasis", LOCAL, "inf-oncho", ("onchocerciasis",)),
        Entity("cysticercosis", LOCAL, "inf-cysticercosis", ("cysticercosis",)),
        Entity("histoplasmosis", LOCAL, "inf-histo", ("histoplasmosis",)),
        Entity("histoplasmosis as a granuloma", GRANULOMA, "inf-histo"),
        Entity("cryptococcosis", LOCAL, "inf-crypto", ("cryptococcosis",)),
        Entity("cryptococcosis as a granuloma", GRANULOMA, "inf-crypto"),
        Entity("intrauterine herpes simplex", LOCAL, "inf-hsv"),
    ),
    "pilomatrixoma, epithelial cyst, syringoma, BCC, nevus, melanoma, atypical fibroxanthoma, hemangioma, pyogenic "
    "granuloma, seborrheic keratosis, neurilemmoma, trichoepithelioma": (
        Entity("pilomatrixoma", LOCAL, "tum-pilomatrixoma", ("pilomatrixoma",)),
        Entity("epithelial cyst", LOCAL, "tum-cyst", ("cysts",)),
        Entity("syringoma", LOCAL, "tum-syringoma", ("syringomas",)),
        Entity("basal cell carcinoma", LOCAL, "tum-bcc", ("basal cell carcinoma",)),
        Entity("nevus", LOCAL, "tum-nevus"),
        Entity("melanoma", LOCAL, "tum-melanoma", ("melanoma",)),
        Entity("atypical fibroxanthoma", LOCAL, "tum-afx"),
        Entity("hemangioma", LOCAL, "tum-hemangioma"),
        Entity("pyogenic granuloma", LOCAL, "tum-pg"),
        Entity("seborrheic keratosis", LOCAL, "tum-sk"),
        Entity("neurilemmoma", LOCAL, "tum-neurilemmoma"),
        Entity("trichoepithelioma", LOCAL, "tum-trichoepithelioma"),
    ),
    "DM, JDM, SLE, SSc, CREST, lupus panniculitis, SCLE/CCLE, morphea, MCTD, overlap": (
        Entity("dermatomyositis", CTD, "ctd-dm", ("dermatomyositis",)),
        Entity(
            "dermatomyositis at risk", "dm-nxp2-risk", "ctd-dm les-digital-ulcer nxp2", ("fingertip ulcers", "NXP2")
        ),
        Entity("juvenile dermatomyositis", CTD, "ctd-jdm"),
        Entity("calcinosis of children", "jdm-calcinosis", "ctd-jdm calcinosis-cutis nxp2", ("30 to 40 percent",)),
        Entity("lupus", CTD, "ctd-sle"),
        Entity("systemic sclerosis", CTD, "ctd-ssc", ("systemic sclerosis",)),
        Entity("CREST", CTD, "ctd-crest"),
        Entity("lupus panniculitis", CTD, "ctd-lp"),
        Entity("cutaneous lupus", CTD, "ctd-scle"),
        Entity("morphea", CTD, "ctd-morphea"),
        Entity("mixed connective tissue disease", CTD, "ctd-mctd"),
        Entity("overlap", CTD, "ctd-overlap"),
    ),
    "SCFN newborn; pancreatic panniculitis": (
        Entity(
            "fat necrosis of the newborn",
            "scfn-newborn-hypercalcemia",
            "pan-scfn calcium-ionized",
            ("half of infants",),
        ),
        Entity(
            "pancreatic panniculitis",
            "pancreatic-panniculitis",
            "pan-pancreatic-panniculitis pan-pancreatic-pancreatitis pan-pancreatic-cancer lipase amylase",
            ("saponification",),
        ),
    ),
    "EDS, Werner, PXE, Rothmund-Thomson": (
        Entity("Ehlers-Danlos", "inherited-calcinosis", "inh-eds", ("Ehlers-Danlos",)),
        Entity("Werner", "inherited-calcinosis", "inh-werner", ("Werner",)),
        Entity("pseudoxanthoma elasticum", "inherited-calcinosis", "inh-pxe", ("pseudoxanthoma elasticum",)),
        Entity("Rothmund-Thomson", "inherited-calcinosis", "inh-rts", ("Rothmund-Thomson",)),
    ),
    "primary / secondary / tertiary HPT": (
        Entity(
            "primary hyperparathyroidism", "primary-hpt-pattern", "pth calcium-total", ("primary hyperparathyroidism",)
        ),
        Entity("its diagnosis", "primary-hpt-pattern nonuremic-calciphylaxis", "met-hpt1"),
        Entity("secondary hyperparathyroidism", "secondary-tertiary-hpt", "pth", ("hyperparathyroidism",)),
        Entity("tertiary hyperparathyroidism", "secondary-tertiary-hpt", "calcium-total", ("tertiary",)),
        Entity(
            "the diagnoses of it",
            "secondary-tertiary-hpt primary-hpt-pattern calcinosis-metastatic-pattern",
            "met-hpt2-renal met-hpt2 met-hpt3 met-hpt-ns",
        ),
    ),
    "paraneoplastic, destructive bone disease, Paget": (
        Entity("paraneoplastic hypercalcemia", "malignancy-bone-hypercalcemia", "malignancy", ("malignancy",)),
        Entity("its diagnosis", "malignancy-bone-hypercalcemia hypercalcemia-workup", "met-paraneo"),
        Entity("destructive bone disease", "malignancy-bone-hypercalcemia", "met-bonemets"),
        Entity("Paget disease", "malignancy-bone-hypercalcemia", "met-paget"),
    ),
    "milk-alkali; vitamin D excess; sarcoidosis; CKD": (
        Entity("milk-alkali syndrome", "milk-alkali", "bicarbonate calcium-total", ("calcium-alkali",)),
        Entity("vitamin D excess", "vitamin-d-intoxication", "vitd25", ("vitamin D",)),
        Entity("sarcoidosis", GRANULOMA, "met-sarcoid vitd125"),
        Entity("chronic kidney disease", PHOSPHATE, "met-eskd phosphate", ("kidney failure",)),
        Entity("its product", PRODUCT, "calcium-total phosphate", ("precipitate",)),
        Entity("its target", TARGET, "advanced-ckd-codes", ("KDOQI",)),
        Entity("its labs", "eskd-missing-labs", "met-eskd dialysis-status pth"),
    ),
    "calciphylaxis": (
        Entity("suspected", CALCIPHYLAXIS, "les-strong les-ulcer les-nodule les-purpura les-pain", ("urgent review",)),
        Entity("known", KNOWN, "calciphylaxis", ("Calciphylaxis",)),
        Entity("with a vitamin K antagonist", "vka-calciphylaxis-risk", "vka calciphylaxis"),
        Entity("without kidney failure", "nonuremic-calciphylaxis", "les-strong thrombophilia liver malignancy"),
        Entity("under thiosulfate", THIOSULFATE, "sts"),
        Entity("counted", "calciphylaxis-risk-points", "dm bmi", ("not validated", "does not give a probability")),
    ),
    "parenteral calcium/phosphate; TLS; heel sticks; electrode paste; nadroparin": (
        Entity("parenteral calcium", INFUSION, "ca-iv", ("IV calcium",)),
        Entity("parenteral calcium as an order", "calcium-vitd-order-high-product", "ca-iv"),
        Entity("parenteral phosphate", INFUSION, "phosphate-salts"),
        Entity("parenteral phosphate as an order", "phosphate-order-hyperphosphatemia", "phosphate-salts"),
        Entity("parenteral nutrition", INFUSION, "tpn", ("parenteral nutrition",)),
        Entity("extravasation", INFUSION, "iat-parenteral", ("extravasation",)),
        Entity("tumor lysis", "tls-parenteral-calcium", "iat-tls urate potassium ca-iv"),
        Entity("heel sticks", INFUSION, "capillary", ("heel sticks",)),
        Entity("electrode paste", INFUSION, "electrodes", ("electrode paste",)),
        Entity("nadroparin", "nadroparin-calcium", "nadroparin"),
    ),
    "scrotum/penis/vulva; milia-like + Down/syringoma; subepidermal nodule": (
        Entity("genital calcinosis", IDIOPATHIC, "idi-genital", ("scrotum", "penis", "vulva")),
        Entity(
            "milia-like calcinosis", IDIOPATHIC, "downs tum-syringoma", ("milia-like", "Down syndrome", "syringomas")
        ),
        Entity("subepidermal calcified nodule", IDIOPATHIC, "idi-scn", ("subepidermal calcified nodule",)),
    ),
    "tumoral calcinosis; circumscripta; universalis; transplant": (
        Entity("tumoral calcinosis", TUMORAL, "idi-tumoral phosphate fgf23", ("FGF23",)),
        Entity("circumscripta", MISSING, "idi-circ"),
        Entity("universalis", MISSING, "idi-univ"),
        Entity("transplant", "transplant-calcinosis", "trn-calcinosis ktx ktx-proc ltx htx lutx", ("transplant",)),
    ),
    'Labs: Ca, P, ALP, albumin, product 70 (the seed list "also consider" is empty in the extract; standard '
    "completion: creatinine/BUN, PTH, 25- and 1,25-vitamin D, CK/aldolase, ANA/Scl-70/centromere, amylase/lipase, "
    "bicarbonate, urine Ca, CBC)": (
        Entity("basic labs", MISSING, "calcium-total phosphate alp albumin creatinine pth vitd25"),
        Entity("product", PRODUCT, "cap-product", ("{product_high}",)),
        Entity("antibodies and enzymes", CTD, "ck aldolase ana scl70 centromere", ("anti-NXP2", "anti-MDA5")),
        Entity("pancreatic enzymes", "pancreatic-panniculitis", "amylase lipase"),
        Entity("1,25-vitamin D", GRANULOMA, "vitd125"),
        Entity("bicarbonate", "milk-alkali", "bicarbonate"),
        Entity("urine calcium", "hypercalcemia-workup", "urine-ca-24h"),
    ),
    "Imaging: radiograph, US, CT, MRI, bone scintigraphy": (
        Entity("radiograph", CTD, "img-xr", ("radiograph",)),
        Entity("ultrasound", CTD, "img-us-extremity", ("ultrasound",)),
        Entity("CT", TUMORAL, "img-ct"),
        Entity("CT and MRI of deep masses", CTD, "", ("CT or MRI",)),
        Entity("bone scintigraphy", CTD, "", ("bone scintigraphy",)),
        Entity("bone scintigraphy as an order", CALCIPHYLAXIS, "img-bone-limited", ("scintigraphy",)),
    ),
    "Procedures: biopsy (von Kossa, alizarin red), FNA, excision, ESWL, HSCT, debridement": (
        Entity("biopsy and its stains", CTD, "", ("biopsy", "von Kossa", "alizarin red")),
        Entity("biopsy as an order", LOCAL, "biopsy", ("von Kossa",)),
        Entity("biopsy only after advice", CALCIPHYLAXIS, "", ("after dermatology advice",)),
        Entity("fine-needle aspiration", CTD, "", ("fine-needle aspiration",)),
        Entity("excision", CTD, "", ("excision", "recurrence is common")),
        Entity("lithotripsy", CTD, "", ("ESWL",)),
        Entity("stem cell transplantation", CTD, "", ("stem cell transplantation",)),
        Entity("debridement", KNOWN, "", ("debridement",)),
        Entity("surgery", CALCIPHYLAXIS, "surgery"),
    ),
    "Treatments/medications": (
        Entity("calcium and vitamin D", "calcium-vitd-order-high-product", "ca-binder ca-supp vitd-active vitd-nutr"),
        Entity("other binders", PHOSPHATE, "nca-binder", ("sevelamer",)),
        Entity("phosphate", "phosphate-order-hyperphosphatemia", "phosphate-salts"),
        Entity("aluminium and magnesium", "al-mg-antacid-renal", "al-antacid mg-antacid"),
        Entity("diltiazem", CTD, "diltiazem", ("diltiazem", "CYP3A4")),
        Entity("colchicine", CTD, "colchicine", ("colchicine", "renal dosing")),
        Entity("probenecid", CTD, "probenecid", ("probenecid", "low GFR")),
        Entity("minocycline", CTD, "minocycline", ("minocycline", "pigments skin")),
        Entity("bisphosphonates", CTD, "bisphos", ("bisphosphonate", "etidronate")),
        Entity("bisphosphonates as orders", "bisphosphonate-renal", "bisphos etidronate"),
        Entity("intralesional corticosteroid", CTD, "steroid-il", ("intralesional corticosteroid",)),
        Entity("systemic corticosteroid", "jdm-calcinosis", "steroid", ("immunosuppression",)),
        Entity("rituximab", CTD, "rituximab", ("rituximab",)),
        Entity("TNF inhibitors", CTD, "tnf", ("TNF inhibitor",)),
        Entity("immunoglobulin", CTD, "ivig", ("immunoglobulin",)),
        Entity("thiosulfate", CTD, "sts", ("sodium thiosulfate",)),
        Entity("thiosulfate, watched", THIOSULFATE, "sts anion-gap bicarbonate"),
        Entity("warfarin", "low-dose-warfarin-calcinosis", "warfarin"),
        Entity("warfarin as advice", CTD, "", ("NOT low-dose warfarin",)),
        Entity("myo-inositol hexaphosphate", CTD, "", ("myo-inositol", "experimental")),
        Entity("calcimimetic", f"secondary-tertiary-hpt {KNOWN}", "calcimimetic", ("calcimimetic",)),
        Entity("evidence said honestly", CTD, "", ("limited evidence",)),
    ),
    "Diet (list empty in extract): phosphate restriction in hyperphosphatemia, calcium/vitamin D review": (
        Entity("diet", PHOSPHATE, "dietitian", ("diet",)),
        Entity("phosphate restriction", TUMORAL, "", ("phosphate restriction",)),
        Entity("minor benefit", CTD, "", ("Diet is of minor benefit",)),
    ),
    "Activity: joint-limiting plaques": (Entity("joints", CTD, "", ("limit a joint",)),),
    "Consults: nephrology, rheumatology, hematology (+ dermatology, wound, pain ...)": (
        Entity("nephrology", PHOSPHATE, "nephrology"),
        Entity("rheumatology", CTD, "rheumatology dermatology"),
        Entity("hematology", "nonuremic-calciphylaxis", "hematology"),
        Entity("wound, pain, palliative", CALCIPHYLAXIS, "woundcare pain palliative dietitian"),
        Entity("genetics", "inherited-calcinosis", "genetics"),
    ),
    "Complications: pain, ulcer, infection, nerve/joint compression, gangrene": (
        Entity("pain", CTD, "les-pain", ("pain",)),
        Entity("ulcer", CTD, "les-ulcer", ("ulcer",)),
        Entity("infection", CTD, "inf-skin", ("infection",)),
        Entity("compression", CTD, "", ("compression of nerves", "limit a joint")),
        Entity("gangrene", CTD, "les-strong"),
        Entity("in kidney failure", CALCIPHYLAXIS, "les-ulcer les-strong les-pain"),
    ),
    "Epidemiology/prognosis": (
        Entity("prevalence", CTD, "", ("7 in 100",)),
        Entity("prognosis of calciphylaxis", CALCIPHYLAXIS, "", ("40 to 50 percent",)),
        Entity("recurrence after excision", CTD, "", ("recurrence is common",)),
    ),
}
ENTITIES = [(row, entity) for row, entities in MATRIX.items() for entity in entities]
RULES = sorted({rule for _, entity in ENTITIES for rule in entity.rules.split()})
CONCEPTS = sorted({concept for _, entity in ENTITIES for concept in entity.concepts.split()})
# Entities of KNOWLEDGE section 1 without a code of their own: their rows name what they are known by instead.
KNOWN_OTHERWISE = {
    "pan-pancreatic": "panniculitis and pancreatic disease together",
    "iat-heelstick": "capillary samples (procedure)",
    "iat-electrode": "EEG, EMG or evoked potentials (procedure)",
    "iat-nadroparin": "nadroparin (medication)",
    "iat-surgery": "generic code only (L76.82), named by no row of section 9",
    "idi-milia": "Down syndrome with calcinosis",
    "met-milkalkali": "calcium, bicarbonate and kidney function",
    "met-vitd": "25-OH vitamin D",
    "met-ckd": "stage 4 and 5, kidney failure and eGFR",
    "met-hyperca": "calcium",
    "met-hyperp": "phosphate",
}


@cache
def whole_book() -> RuleBook:
    """Return the book of the project."""
    return load_book(ROOT / "hooks")


def uses(rule: Rule, book: RuleBook) -> set[str]:
    """Return every concept that a rule reads, shows or offers, one by one."""
    words, card = book.terminology, rule.card
    shown = [*card.show, *card.show_medications, *card.show_diagnoses]
    named = {*rule.reads, *rule.orders, *shown, *card.workup, *card.consults, *card.alternatives}
    computed = {part for name in named if name in COMPUTED for part in COMPUTED[name].reads}

    return {*named, *computed, *(member for name in named for member in words.members(name))}


def said(rule: Rule) -> str:
    """Return everything that a rule and its card say."""
    card = rule.card
    parts = (
        *card.summary,
        *(text for one in card.escalate for text in one.summary),
        card.detail,
        card.medication_advice,
    )

    return " ".join(" ".join((rule.title, rule.why, *parts)).split()).casefold()


def known(book: RuleBook) -> set[str]:
    """Return every concept of the terminology: diagnoses, medicines, procedures, tests and orders."""
    return {*book.terminology.concepts, *book.terminology.analytes, *book.terminology.orders}


def lacking(entity: Entity, book: RuleBook) -> list[str]:
    """Return what is missing for an entity: rules, concepts, the use of a concept by a rule, words on a card."""
    asked = {rule.id for service in book.services.values() for rule in service.rules}
    names = entity.rules.split()
    rules = [book.rules[name] for name in names if name in book.rules]
    used = {concept for rule in rules for concept in uses(rule, book)} & known(book)
    text = " ".join(said(rule) for rule in rules)
    found = [f"no rule {name}" for name in names if name not in book.rules]
    found += [f"{rule.id} is {rule.status}" for rule in rules if rule.status != "active"]
    found += [f"no service asks {rule.id}" for rule in rules if rule.id not in asked]
    found += [f"no use of {concept}" for concept in entity.concepts.split() if concept not in used]

    return found + [f'no card says "{word}"' for word in entity.words if word.casefold() not in text]


@pytest.mark.parametrize(
    ("row", "entity"), [pytest.param(*one, id=f"{one[0][:24]}: {one[1].name}") for one in ENTITIES]
)
def test_every_entity_has_a_concept_and_a_rule_or_a_card_line(row: str, entity: Entity) -> None:
    assert row
    assert entity.concepts or entity.words
    assert [] == lacking(entity, whole_book())


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_is_taken_away_is_missed(rule: str) -> None:
    book = whole_book()
    without = msgspec.structs.replace(book, rules={name: one for name, one in book.rules.items() if name != rule})

    assert any(f"no rule {rule}" in lacking(entity, without) for _, entity in ENTITIES)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_concept_that_is_taken_away_is_missed(concept: str) -> None:
    book = whole_book()
    words = book.terminology
    fewer = msgspec.structs.replace(
        words,
        concepts={name: one for name, one in words.concepts.items() if name != concept},
        analytes={name: one for name, one in words.analytes.items() if name != concept},
        orders={name: one for name, one in words.orders.items() if name != concept},
    )
    without = msgspec.structs.replace(book, terminology=fewer)

    assert any(f"no use of {concept}" in lacking(entity, without) for _, entity in ENTITIES)


def test_every_disease_of_the_catalogue_stands_in_the_matrix() -> None:
    """No etiology of KNOWLEDGE 1.1-1.12 is left out; what has no code of its own is known otherwise."""
    entries = yaml.load((ROOT / "hooks" / "concepts" / "diagnoses.yaml").read_bytes(), Loader=yaml.CSafeLoader)[
        "concepts"
    ]
    causes = ("index", "mixed", "dystrophic", "metastatic", "iatrogenic", "idiopathic", "variable")
    wanted = {name for name, entry in entries.items() if entry.get("group", "").split("-")[0] in causes}

    assert wanted - set(CONCEPTS) == KNOWN_OTHERWISE.keys()


def test_every_rule_stands_in_the_matrix() -> None:
    """A rule that covers nothing of the documents has no place here; these few speak of several rows at once."""
    several = {"calcinosis-metastatic-pattern", "hypercalcemia-workup"}

    assert set(whole_book().rules) - several <= set(RULES)


def test_the_matrix_has_the_rows_of_section_9() -> None:
    if not KNOWLEDGE.is_file():
        pytest.skip("KNOWLEDGE.md is not here: set CDS_SHARED to compare with it.")
    section = KNOWLEDGE.read_text(encoding="utf-8").split("## 9. Seed coverage matrix")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)

    assert list(MATRIX) == [row for row in rows if row != "Seed item"]
