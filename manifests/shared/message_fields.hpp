// How the messages' common parts are written down, for the sources that write messages (messages.cpp, scan_messages.cpp).
// Members that are not known are passed over: a newer side may say more. Everything that is read is typed and bounded.
#pragma once
#include <array>

#include "manifests/shared/fields.hpp"
#include "manifests/shared/manifest.hpp"
#include "manifests/shared/messages.hpp"

namespace ripcord {

inline constexpr std::array<std::string_view, 8> kPhases{"none",      "intent",   "activated",        "confirmed",
                                                         "reverting", "reverted", "failed_unchanged", "needs_operator"};
inline constexpr std::array<std::string_view, 5> kCurrents{"none", "release", "foreign_link", "folder", "broken"};
inline constexpr std::array<std::string_view, 3> kVerifies{"none", "quick", "full"};

template <class E, std::size_t N>
bool find_word(const std::array<std::string_view, N>& words, std::string_view text, E& out) {
  for (std::size_t i = 0; i < N; ++i)
    if (words[i] == text) return out = static_cast<E>(i), true;
  return false;
}

inline bool from_text(std::string_view text, OpPhase& out) { return find_word(kPhases, text, out); }
inline bool from_text(std::string_view text, Observation::Current& out) { return find_word(kCurrents, text, out); }

inline void fields(auto& f, Of<UnitRef> auto& u) {
  f.need("unit", u.unit);
  f.maybe("root", u.root, UnitRef{}.root);
}

inline void fields(auto& f, Of<ReleaseId> auto& r) {
  f.need("version", r.version);
  f.need("manifest", r.manifest);
  f.need("tree", r.tree);
}

inline void fields(auto& f, Of<Finding> auto& x) {
  f.need("kind", x.kind);
  f.need("path", x.path);
  f.maybe("detail", x.detail);
}

inline void fields(auto& f, Of<OpState> auto& s) {
  f.maybe("op", s.op);
  f.maybe("rollout", s.rollout);
  f.need("phase", s.phase);
  f.maybe("forward", s.forward, true);
  f.maybe("from", s.from);
  f.maybe("to", s.to);
  f.maybe("undo_to", s.undo_to);
  f.maybe("deadline_left_ms", s.deadline_left_ms, -1);
  f.maybe("detail", s.detail);
  f.maybe("who", s.who);
  f.maybe("why", s.why);
  f.maybe("at_ms", s.at_ms, 0);
  f.maybe("epoch", s.epoch, 0);
}

// A version becomes part of a folder's name on whichever side reads it.
inline void check(const std::optional<ReleaseId>& r) {
  if (r && !valid_version(r->version)) throw Error("'" + escape_terminal(r->version.substr(0, 200)) + "' is not a version");
}
inline void check(const UnitRef& u) {
  if (!valid_unit_name(u.unit)) throw Error("'" + escape_terminal(u.unit.substr(0, 200)) + "' is not a unit's name");
  if (u.root.empty() || u.root[0] != '/') throw Error("root '" + escape_terminal(u.root.substr(0, 200)) + "' is not an absolute path");
  if (u.root.size() > 1) check_release_path(std::string_view(u.root).substr(1));
}
inline void check(const OpState& s) {
  check(s.from);
  check(s.to);
  check(s.undo_to);
}

template <class T>
json::object written(const T& v) {
  FieldWriter w;
  fields(w, v);
  return std::move(w.object);
}

template <class T>
T read(const json::object& o) {
  T v{};
  FieldReader r(o, false);
  fields(r, v);
  check(v);
  return v;
}

}  // namespace ripcord
