#include "manifests/shared/manifest.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.hpp"
#include "manifests/shared/fields.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxEntries = 200000;
constexpr int kFormat = 1;

// As Boost.JSON would write it; by hand for the common case, because a manifest holds thousands of strings.
void append_json_string(std::string& out, std::string_view text) {
  bool plain = std::all_of(text.begin(), text.end(), [](unsigned char c) { return c >= 0x20 && c != '"' && c != '\\'; });
  if (plain) out.append("\"").append(text).append("\"");
  else out += json::serialize(json::string(text));
}

void append_entry(std::string& out, const SourceEntry& e) {
  out += "{\"path\":";
  append_json_string(out, e.path);
  if (e.kind == SourceEntry::Kind::link) {
    out += ",\"link\":";
    append_json_string(out, e.target);
  } else if (e.kind == SourceEntry::Kind::dir) {
    out.append(",\"dir\":true,\"mode\":\"").append(mode_text(e.mode)).append("\"");
  } else {
    out.append(",\"mode\":\"").append(mode_text(e.mode)).append("\",\"size\":").append(std::to_string(e.size));
    out.append(",\"sha256\":\"").append(e.digest.hex()).append("\"");
  }
  out += "}";
}

std::string_view text_of(const json::object& o, std::string_view key) {
  const auto& v = member(o, key);
  if (!v.is_string()) throw Error(fmt::format("member '{}' is not a string", key));
  return {v.get_string().data(), v.get_string().size()};
}

SourceEntry decode_entry(const json::value& v) {
  if (!v.is_object()) throw Error("it is not an object");
  const auto& o = v.get_object();
  SourceEntry e;
  e.path = text_of(o, "path");
  if (o.if_contains("link")) {
    e.kind = SourceEntry::Kind::link;
    e.mode = 0777;
    e.target = text_of(o, "link");
    return e;
  }
  auto mode = parse_mode(text_of(o, "mode"));
  if (!mode) throw Error("member 'mode' is not a file mode");
  e.mode = *mode;
  if (o.if_contains("dir")) {
    e.kind = SourceEntry::Kind::dir;
    return e;
  }
  auto size = get_int(o, "size");
  if (size < 0) throw Error("member 'size' is negative");
  e.size = static_cast<std::uint64_t>(size);
  auto digest = Digest::parse(text_of(o, "sha256"));
  if (!digest) throw Error("member 'sha256' is not a digest");
  e.digest = *digest;
  return e;
}

Manifest decode_checked(std::string_view bytes) {
  if (bytes.size() > kMaxManifest) throw Error(fmt::format("it is larger than {}", format_size(kMaxManifest)));
  // Thousands of small values that live as long as this call: one arena instead of an allocation each.
  json::monotonic_resource arena;
  json::parse_options options;
  options.max_depth = 32;
  boost::json::error_code ec;
  auto document = json::parse(bytes, ec, &arena, options);
  if (ec) throw Error(fmt::format("it is not valid JSON: {}", ec.message()));
  if (!document.is_object()) throw Error("it is not a JSON object");
  const auto& o = document.get_object();
  if (auto format = get_int(o, "format"); format != kFormat)
    throw Error(fmt::format("it has format {}, this program reads {}", format, kFormat), "use a newer ripcord");
  Manifest m;
  m.spec = unit_spec_from_json(get_object(o, "spec"));
  const auto& files = get_array(o, "files");
  if (files.size() > kMaxEntries) throw Error(fmt::format("it has {} entries, allowed are {}", files.size(), kMaxEntries));
  m.entries.reserve(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    try {
      m.entries.push_back(decode_entry(files[i]));
    } catch (Error& e) {
      throw Error(fmt::format("files[{}]: {}", i, e.message()));
    }
    if (i > 0 && !(m.entries[i - 1].path < m.entries[i].path))
      throw Error(fmt::format("files[{}]: path '{}' is not in order", i, escape_terminal(m.entries[i].path)));
  }
  if (auto findings = check_entries(m.spec, m.entries); !findings.empty()) throw Error(findings.front());
  // One release, one spelling: two manifests that mean the same must not have two digests.
  if (m.encode() != bytes) throw Error("it is not in canonical form");
  return m;
}

}  // namespace

std::string Manifest::encode() const {
  std::string out;
  out.reserve(1024 + entries.size() * 180);
  out += fmt::format("{{\"format\":{},\"unit\":", kFormat);
  append_json_string(out, spec.unit);
  out += ",\"version\":";
  append_json_string(out, spec.version);
  out += ",\"spec\":" + json::serialize(to_json(spec)) + ",\"files\":[";
  for (const auto& e : entries) {
    if (&e != &entries.front()) out += ",";
    append_entry(out, e);
  }
  out += "]}\n";
  return out;
}

Manifest Manifest::decode(std::string_view bytes) {
  try {
    return decode_checked(bytes);
  } catch (const Error& e) {
    throw Error("the manifest cannot be used: " + std::string(e.what()), e.hint(), Exit::integrity);
  }
}

}  // namespace ripcord
