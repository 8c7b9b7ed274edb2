# Makes an SPDX 2.3 document of ROOT/versions (see versions.awk). Variables: version and arch of
# the program. It has no date, so that the same sources give the same document.

BEGIN {
	licence["musl"] = "MIT"
	licence["openssl"] = "Apache-2.0"
	licence["libpq"] = "PostgreSQL"
	name = "tdispatch-" version "-linux-" arch
	print "{\"spdxVersion\": \"SPDX-2.3\", \"dataLicense\": \"CC0-1.0\", \"SPDXID\": \"SPDXRef-DOCUMENT\","
	printf " \"name\": \"%s\", \"documentNamespace\": \"urn:tdispatch:%s:%s\",\n", name, version, arch
	print " \"creationInfo\": {\"created\": \"1970-01-01T00:00:00Z\", \"creators\": [\"Tool: dist/sbom.awk\"]},"
	print " \"packages\": ["
	printf "%s", package("tdispatch", version, "ISC", "")
	relations = relation("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-tdispatch")
}

{
	source = $3 == "-" ? "upstream's source" : "Debian's source package " debian($1, $2) " " $3
	printf ",\n%s", package($1, $2, licence[$1], sprintf(", \"sourceInfo\": \"%s, SHA-256 %s\", %s", source, $4, purl($1, $2, $3)))
	relations = relations ",\n" relation("SPDXRef-tdispatch", "STATIC_LINK", "SPDXRef-" $1)
}

END { printf "\n ],\n \"relationships\": [\n%s\n ]}\n", relations }

function package(name, version, licence, extra) {
	return sprintf("  {\"SPDXID\": \"SPDXRef-%s\", \"name\": \"%s\", \"versionInfo\": \"%s\", \"licenseConcluded\": \"%s\", \"licenseDeclared\": \"%s\", \"copyrightText\": \"NOASSERTION\", \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false%s}",
		name, name, version, licence, licence, extra)
}

function relation(from, type, to) {
	return sprintf("  {\"spdxElementId\": \"%s\", \"relationshipType\": \"%s\", \"relatedSpdxElement\": \"%s\"}", from, type, to)
}

# Name of Debian's source package: libpq is in that of its PostgreSQL's major version.
function debian(name, version) {
	return name == "libpq" ? "postgresql-" int(version) : name
}

function purl(name, version, revision,   locator) {
	locator = "pkg:generic/" (name == "libpq" ? "postgresql" : name) "@" version
	if (revision != "-")
		locator = "pkg:deb/debian/" debian(name, version) "@" revision "?arch=source"
	gsub(/\+/, "%2B", locator)
	return sprintf("\"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", \"referenceLocator\": \"%s\"}]", locator)
}
