#pragma once

#include <string>
#include <string_view>

namespace orrery {

/// How a line or an outline looks.
struct SvgStroke {
  std::string colour = "#5b6770";
  double width = 1.0;
  bool dashed = false;
};

/// Collects shapes and writes them as one SVG document. Lengths are pixels, y grows downward; texts are
/// escaped.
class SvgCanvas {
 public:
  void line(double x1, double y1, double x2, double y2, const SvgStroke& stroke);
  void box(double x, double y, double width, double height, std::string_view fill, const SvgStroke& stroke);
  void circle(double x, double y, double radius, std::string_view fill, const SvgStroke& stroke);
  /// @param anchor  "start", "middle" or "end"
  void text(double x, double y, std::string_view anchor, double size, std::string_view words,
            std::string_view colour = "#1f2a33");
  /// @param title  what a browser shows for the whole picture
  std::string document(double width, double height, std::string_view title) const;

 private:
  std::string shapes_;
};

}  // namespace orrery
