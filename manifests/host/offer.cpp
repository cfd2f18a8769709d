#include "manifests/host/offer.hpp"

#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <set>

#include "core/base/text.hpp"
#include "manifests/host/account.hpp"
#include "manifests/shared/seal.hpp"

namespace ripcord {
namespace {

void check_trust(const HostContext& host, const StageOffer& offer) {
  auto trust = host.layout.trust_file();
  if (!trust) return;
  auto verdict = verify_seal(offer.manifest, offer.signature, read_file(*trust), kSealNamespace, host.wall());
  if (verdict.trusted) return;
  throw HostFailure("untrusted",
                    fmt::format("the release's seal is not trusted by '{}' on this host: {}", *trust,
                                offer.signature.empty() ? "it is not signed" : verdict.why),
                    "seal it with a key that is listed there, or have the key added by whoever owns the host");
}

Manifest decode(const std::string& bytes) {
  try {
    return Manifest::decode(bytes);
  } catch (const Error& e) {
    throw HostFailure("bad_request", e.what(), e.hint());
  }
}

// Where the unit will lie, as far as it exists now.
std::string existing_folder(std::string path) {
  while (!exists(path) && path != "/") path = parent_dir(path);
  return path;
}

}  // namespace

Labels PreparedRelease::variables() const {
  Labels v = facts.labels;
  if (!facts.arch.empty()) v["arch"] = facts.arch;
  v["unit"] = manifest.spec.unit;
  v["version"] = manifest.spec.version;
  for (const char* path : {"release", "current", "shared"}) v.erase(path);
  return v;
}

void PreparedRelease::make() {
  try {
    tree = make_tree(manifest, digest, facts, [this](const Digest& object) {
      auto found = templates.find(object);
      return found == templates.end() ? std::string() : found->second;
    });
  } catch (const HostFailure&) {
    throw;
  } catch (const Error& e) {
    throw HostFailure("bad_request", fmt::format("unit '{}' cannot be laid out on this host: {}", unit.unit, e.what()), e.hint());
  }
}

PreparedRelease prepare(const HostContext& host, const StageOffer& offer, LocalObjects& objects) {
  check_trust(host, offer);
  return lay_out(host.layout.unit(offer.unit), {offer.manifest, offer.signature}, host.facts(offer.labels), objects);
}

PreparedRelease lay_out(const UnitLayout& unit, SealedManifest sealed, HostFacts facts, LocalObjects& objects) {
  PreparedRelease p;
  p.unit = unit;
  p.sealed = std::move(sealed);
  p.digest = p.sealed.digest();
  p.manifest = decode(p.sealed.bytes);
  p.facts = std::move(facts);
  const auto& spec = p.manifest.spec;
  if (spec.unit != unit.unit || spec.root != unit.root)
    throw HostFailure("bad_request", fmt::format("the manifest is of unit '{}' in '{}', the request is for unit '{}' in '{}'", spec.unit,
                                                 spec.root, unit.unit, unit.root));
  if (spec.version.empty() || spec.version.find('/') != std::string::npos || spec.version[0] == '.')
    throw HostFailure("bad_path", fmt::format("version '{}' cannot name a folder", escape_terminal(spec.version)));
  try {
    for (const auto& object : template_objects(p.manifest, p.facts)) {
      if (auto bytes = objects.read(object, kMaxTemplate)) p.templates[object] = std::move(*bytes);
      else p.templates_lacking.push_back(object);
    }
  } catch (const Error& e) {
    throw HostFailure("bad_request", fmt::format("unit '{}' cannot be laid out on this host: {}", unit.unit, e.what()), e.hint());
  }
  p.make();
  return p;
}

Owner owner_of(const UnitSpec& spec) {
  if (spec.owner.empty() || ::geteuid() != 0) return {::geteuid(), ::getegid()};
  auto account = find_account(spec.owner);
  return {account.ids.uid, account.ids.gid};
}

void check_space(const UnitLayout& unit, const Tree& tree) {
  struct statvfs fs {};
  auto folder = existing_folder(unit.releases);
  if (::statvfs(folder.c_str(), &fs) != 0) return;  // the writes will tell
  std::uint64_t block = fs.f_frsize ? fs.f_frsize : 4096, bytes = 0, inodes = tree.entries.size() + 16;
  for (const auto& e : tree.entries)
    bytes += e.kind == SourceEntry::Kind::file ? (e.size + block - 1) / block * block : e.kind == SourceEntry::Kind::dir ? block : 0;
  bytes += 16 * block;  // metadata, the journal
  std::uint64_t free = fs.f_bavail * block;
  if (free < bytes)
    throw HostFailure("no_space",
                      fmt::format("unit '{}' needs {} in '{}' and {} are free", unit.unit, format_size(bytes), folder, format_size(free)),
                      "free space there, or prune releases that no rollback needs; nothing was written");
  if (fs.f_files > 0 && fs.f_favail < inodes)
    throw HostFailure("no_space",
                      fmt::format("unit '{}' needs {} inodes in '{}' and {} are free", unit.unit, inodes, folder, fs.f_favail),
                      "remove files there, or prune releases that no rollback needs; nothing was written");
}

StageReply judge_offer(const PreparedRelease& p, LocalObjects& objects) {
  StageReply reply;
  reply.release = p.id();
  reply.tree_bytes = p.tree.bytes();
  for (const auto& e : p.tree.entries) reply.files += e.kind == SourceEntry::Kind::file;
  if (p.tree_known()) {
    std::optional<StoredRelease> stored;
    try {
      stored = load_release(p.unit, reply.release.folder());
    } catch (const HostFailure&) {  // unreadable metadata: staged anew
    }
    if (stored && stored->id != reply.release)
      throw HostFailure("conflict", fmt::format("version '{}' of unit '{}' is on this host with another manifest ({}, offered is {})",
                                                escape_terminal(reply.release.version), p.unit.unit, stored->id.manifest.short_hex(),
                                                p.digest.short_hex()),
                        "one version is one release for ever: give the new one another version");
    if (stored && verify_release(p.unit, *stored, Verify::quick).clean()) {
      reply.complete = true;
      return reply;
    }
  }
  owner_of(p.manifest.spec);
  check_space(p.unit, p.tree);
  std::set<Digest> lacking(p.templates_lacking.begin(), p.templates_lacking.end());
  std::set<Digest> seen;
  for (const auto& e : p.tree.entries)
    if (e.kind == SourceEntry::Kind::file && !e.rendered && seen.insert(e.source).second && !objects.has(e.source))
      lacking.insert(e.source);
  reply.lacking.assign(lacking.begin(), lacking.end());
  return reply;
}

}  // namespace ripcord
