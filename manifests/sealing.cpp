// ReleaseStore::seal: a unit's folder becomes a release.
#include <fcntl.h>
#include <fmt/format.h>

#include <map>
#include <set>

#include "core/base/error.hpp"
#include "core/base/files.hpp"
#include "core/base/text.hpp"
#include "manifests/object_batch.hpp"
#include "manifests/release_store.hpp"
#include "manifests/shared/tree.hpp"
#include "manifests/source_tree.hpp"
#include "manifests/unit_file.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kShownFindings = 100, kShownDifferences = 5;

void refuse_findings(const std::string& folder, const std::vector<std::string>& findings) {
  if (findings.empty()) return;
  std::string text = fmt::format("'{}' cannot be sealed:", escape_terminal(folder));
  for (std::size_t i = 0; i < findings.size() && i < kShownFindings; ++i) text += "\n  " + findings[i];
  if (findings.size() > kShownFindings) text += fmt::format("\n  and {} more", findings.size() - kShownFindings);
  throw Error(text, "nothing was sealed", Exit::invalid_file);
}

int version_line(const std::string& unit_yaml) {
  int number = 0;
  for (const auto& line : split(unit_yaml, '\n')) {
    ++number;
    if (line.starts_with("version:")) return number;
  }
  return 1;
}

std::string differences(const Manifest& before, const Manifest& after) {
  std::map<std::string, std::pair<const SourceEntry*, const SourceEntry*>> both;
  for (const auto& e : before.entries) both[e.path].first = &e;
  for (const auto& e : after.entries) both[e.path].second = &e;
  std::vector<std::string> shown;
  std::size_t count = 0;
  auto note = [&](const std::string& path, const char* how) {
    if (++count <= kShownDifferences) shown.push_back(fmt::format("{} ({})", escape_terminal(path), how));
  };
  for (const auto& [path, pair] : both) {
    auto [old_one, new_one] = pair;
    if (!old_one) note(path, "new");
    else if (!new_one) note(path, "gone");
    else if (old_one->kind != new_one->kind || old_one->digest != new_one->digest || old_one->target != new_one->target) note(path, "changed");
    else if (old_one->mode != new_one->mode) note(path, "mode changed");
  }
  // The same sources, read by another ripcord: the spec it made of them differs.
  if (count == 0) return "the unit's settings as this ripcord reads them";
  return join(shown, ", ") + (count > shown.size() ? fmt::format(" and {} more", count - shown.size()) : "");
}

std::uint64_t copy_new_objects(const SourceTree& source, const std::string& store) {
  ObjectBatch batch(store);
  std::set<Digest> done;
  for (const auto& e : source.entries) {
    if (e.kind != SourceEntry::Kind::file || exists(object_path(store, e.digest)) || !done.insert(e.digest).second) continue;
    Sha256 hash;
    batch.begin();
    for_each_block(source.open(e).get(), e.path, [&](std::string_view part) {
      hash.update(part);
      batch.write(part);
    });
    // Read twice: what was hashed first must be what was copied.
    if (hash.finish() != e.digest)
      throw Error(fmt::format("'{}' was changed while it was being sealed; nothing was sealed", escape_terminal(e.path)),
                  "seal again when nothing writes to the unit's folder");
    batch.end(e.digest);
  }
  source.check_unchanged();
  batch.commit();
  return batch.size();
}

}  // namespace

ReleaseStore::Sealed ReleaseStore::seal(const std::string& unit_folder, const std::function<std::string(const std::string& bytes)>& sign) {
  Sealed result;
  auto& manifest = result.manifest;
  SourceTree source(unit_folder);
  manifest.spec = load_unit(unit_folder);

  auto findings = check_entries(manifest.spec, source.entries);
  findings.insert(findings.begin(), source.problems.begin(), source.problems.end());
  refuse_findings(unit_folder, findings);
  source.hash_files();
  refuse_findings(unit_folder, source.problems);
  manifest.entries = source.entries;
  std::map<Digest, const SourceEntry*> by_digest;
  for (const auto& e : source.entries) by_digest.emplace(e.digest, &e);
  refuse_findings(unit_folder, check_layers(manifest, [&](const Digest& d) { return source.read(*by_digest.at(d)); }));

  SealedManifest sealed{manifest.encode(), ""};
  if (sealed.bytes.size() > kMaxManifest)
    throw Error(fmt::format("'{}' has too many files for one release: its manifest would be {}, allowed are {}", unit_folder,
                            format_size(sealed.bytes.size()), format_size(kMaxManifest)));
  manifest = Manifest::decode(sealed.bytes);  // what the hosts would refuse must not be sealed
  result.digest = sealed.digest();
  const auto& spec = manifest.spec;
  if (auto known = find(spec.unit, spec.version)) {
    result.already = *known == result.digest;
    if (!result.already) {
      std::string yaml = unit_folder + "/unit.yaml";
      throw Error(fmt::format("'{}@{}' is sealed already with other content: {}", spec.unit, spec.version,
                              differences(Manifest::decode(this->sealed(*known).bytes), manifest)),
                  fmt::format("raise version: in {}:{}; a version names one release for ever", yaml, version_line(read_file(yaml))), Exit::refused);
    }
  }

  result.new_objects = copy_new_objects(source, folder_);
  sealed.signature = sign ? sign(sealed.bytes) : "";
  add_sealed(sealed);
  for (const auto& e : manifest.entries) result.files += e.kind == SourceEntry::Kind::file, result.bytes += e.size;
  return result;
}

}  // namespace ripcord
