#include "reports/writers/svg_canvas.hpp"

#include <fmt/format.h>

namespace orrery {
namespace {

std::string escaped(std::string_view words) {
  std::string text;
  for (const char c : words) {
    switch (c) {
      case '&':
        text += "&amp;";
        break;
      case '<':
        text += "&lt;";
        break;
      case '>':
        text += "&gt;";
        break;
      case '"':
        text += "&quot;";
        break;
      default:
        text += c;
    }
  }
  return text;
}

std::string stroke_of(const SvgStroke& stroke) {
  return fmt::format("stroke=\"{}\" stroke-width=\"{:.2f}\"{}", stroke.colour, stroke.width,
                     stroke.dashed ? " stroke-dasharray=\"6 4\"" : "");
}

}  // namespace

void SvgCanvas::line(double x1, double y1, double x2, double y2, const SvgStroke& stroke) {
  shapes_ += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1, x2,
                         y2, stroke_of(stroke));
}

void SvgCanvas::box(double x, double y, double width, double height, std::string_view fill,
                    const SvgStroke& stroke) {
  shapes_ += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"4\" fill=\"{}\" {}/>\n", x, y,
      width, height, fill, stroke_of(stroke));
}

void SvgCanvas::circle(double x, double y, double radius, std::string_view fill, const SvgStroke& stroke) {
  shapes_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" fill=\"{}\" {}/>\n", x, y, radius,
                         fill, stroke_of(stroke));
}

void SvgCanvas::text(double x, double y, std::string_view anchor, double size, std::string_view words,
                     std::string_view colour) {
  shapes_ += fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" font-size=\"{:.1f}\" fill=\"{}\">{}</text>\n", x, y,
      anchor, size, colour, escaped(words));
}

std::string SvgCanvas::document(double width, double height, std::string_view title) const {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
      "{1:.0f}\" "
      "font-family=\"Helvetica, Arial, sans-serif\">\n<title>{2}</title>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{3}</svg>\n",
      width, height, escaped(title), shapes_);
}

}  // namespace orrery
