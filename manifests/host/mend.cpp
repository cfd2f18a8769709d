// A release that this host knows and that is no longer what it was: opened as an offer, so that a pack makes it whole (INVARIANTS r2).
#include <set>

#include "manifests/host/metadata.hpp"
#include "manifests/host/stage.hpp"

namespace ripcord {
namespace {

IdFile recorded(const UnitLayout& unit, const ReleaseId& id) {
  auto text = read_file_if_exists(unit.metadata_of(id.folder()) + "/id", 1u << 20);
  if (!text) throw HostFailure("missing_release", "nothing is recorded here about the release '" + escape_terminal(id.folder()) + "'", "stage it");
  try {
    auto file = decode_id_file(*text);
    if (file.id != id) throw Error("it is of another release");
    return file;
  } catch (const Error& e) {
    throw HostFailure("missing_release",
                      "what is recorded here about the release '" + escape_terminal(id.folder()) + "' cannot be read: " + e.what(), "stage it");
  }
}

// Every byte is read; what differs is distrusted, so that nobody copies from it because its times look right. True: all is well.
bool look_hard(const UnitLayout& unit, const ReleaseId& id) {
  try {
    auto release = load_release(unit, id.folder());
    if (!release) return false;
    auto result = verify_release(unit, *release, Verify::full);
    for (const auto& finding : result.findings)
      for (std::size_t i = 0; i < release->tree.entries.size(); ++i)
        if (finding.kind == "changed" && release->tree.entries[i].path == finding.path) distrust(unit, *release, i);
    return result.clean();
  } catch (const HostFailure&) {  // its tree cannot be read: written anew
    return false;
  }
}

}  // namespace

StageReply mend(HostContext& host, const UnitRef& ref, const ReleaseId& id, std::optional<OpenOffer>& open) {
  open.reset();
  auto unit = host.layout.unit(ref);
  auto known = recorded(unit, id);
  auto sealed = stored_manifest(unit, id.folder());
  if (sealed.digest() != id.manifest)
    throw HostFailure("missing_release", "the manifest of '" + escape_terminal(id.folder()) + "' on this host is damaged", "stage it");
  StageReply reply;
  reply.release = id;
  reply.complete = look_hard(unit, id);
  if (reply.complete) return reply;
  LocalObjects objects(unit);
  auto prepared = lay_out(unit, std::move(sealed), known.facts, objects);
  if (prepared.tree_known() && prepared.id() != id)
    throw HostFailure("damaged", "the release '" + escape_terminal(id.folder()) + "' cannot be laid out as it was: this host program makes another tree of it");
  std::set<Digest> lacking(prepared.templates_lacking.begin(), prepared.templates_lacking.end());
  for (const auto& e : prepared.tree.entries)
    if (e.kind == SourceEntry::Kind::file && !e.rendered && !lacking.contains(e.source) && !objects.has(e.source)) lacking.insert(e.source);
  reply.lacking.assign(lacking.begin(), lacking.end());
  reply.tree_bytes = prepared.tree.bytes();
  open.emplace(OpenOffer{{ref, {}, {}, {}}, std::move(prepared), Owner{known.uid, known.gid}});
  return reply;
}

}  // namespace ripcord
