//! An explanation as text for people: one line per region, in columns.

use std::fmt;

use crate::decide::explain::explanation::{
    ExplainedReason, ExplainedRegion, ExplainedRoute, ExplainedViewer, Explanation,
};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method} ")?;
        }
        let host = self.host.as_deref().unwrap_or_default();
        writeln!(f, "{host}{}  {}", self.path, self.viewer)?;
        match &self.route {
            Some(route) => route.fmt(f)?,
            None => writeln!(f, "route  none")?,
        }
        if self.verdict.region.is_none() {
            writeln!(f, "refused  {}", self.verdict.because)?;
        }
        let rows: Vec<[String; 6]> = self.regions.iter().map(|r| self.row(r)).collect();
        let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max();
        let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or(0));
        for [rank, name, health, latency, metric, remark] in &rows {
            let line = format!(
                "  {rank:>0$}  {name:<1$}  {health:<2$}  {latency:>3$}{gap}{metric:>4$}  {remark}",
                widths[0],
                widths[1],
                widths[2],
                widths[3],
                widths[4],
                gap = if widths[4] == 0 { "" } else { "  " },
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

impl Explanation {
    fn row(&self, region: &ExplainedRegion) -> [String; 6] {
        [
            region
                .rank
                .map_or_else(|| "-".to_owned(), |rank| rank.to_string()),
            region.name.clone(),
            match region.admin.as_str() {
                "auto" => region.health.clone(),
                admin => format!("{}, {admin}", region.health),
            },
            latency(region),
            match (region.distance_km, region.weight) {
                (Some(kilometres), _) => format!("{kilometres:.0} km"),
                (None, Some(weight)) => format!("weight {weight}"),
                (None, None) => String::new(),
            },
            self.remark(region),
        ]
    }

    fn remark(&self, region: &ExplainedRegion) -> String {
        match &region.out {
            _ if region.rank == Some(1) => format!("chosen: {}", self.verdict.because),
            Some(out) if region.rank.is_some() => format!("last resort: {out}"),
            Some(out) => format!("out: {out}"),
            None => String::new(),
        }
    }
}

/// `12.3 ms ±0.4, 3 s ago`, or that it is not known.
fn latency(region: &ExplainedRegion) -> String {
    let Some(median) = region.latency_seconds else {
        return "unmeasured".to_owned();
    };
    let mut text = format!("{:.1} ms", median * 1e3);
    if let Some(spread) = region.latency_spread_seconds {
        text.push_str(&format!(" \u{b1}{:.1}", spread * 1e3));
    }
    if let Some(age) = region.latency_age_seconds {
        text.push_str(&format!(", {age:.0} s ago"));
    }
    text
}

impl fmt::Display for ExplainedViewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("viewer")?;
        // Asked about a country alone, there is no address.
        if !self.address.is_unspecified() {
            write!(f, " {}", self.address)?;
        }
        match (&self.country, self.unknown.as_deref()) {
            (Some(country), _) => write!(f, " from {country} ({})", self.source),
            (None, Some("any")) => f.write_str(" from an unknown country (viewer.unknown: any)"),
            (None, Some("refuse")) => {
                f.write_str(" from an unknown country (viewer.unknown: refuse)")
            }
            (None, Some(country)) => write!(f, " counts as {country} (viewer.unknown)"),
            (None, None) => f.write_str(" from an unknown country"),
        }
    }
}

impl fmt::Display for ExplainedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "route \"{}\"  {}  {}",
            self.name, self.matches, self.written
        )?;
        let permitted = match self.permitted.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        let lines: Vec<String> = self.residency.iter().map(ExplainedReason::inner).collect();
        match lines.as_slice() {
            [] if self.permitted.is_empty() => writeln!(f, "permitted  {permitted}"),
            [] => writeln!(f, "permitted  {permitted}  (no residency line holds)"),
            lines => writeln!(f, "permitted  {permitted}  ({})", lines.join("; ")),
        }
    }
}

impl ExplainedReason {
    fn inner(&self) -> String {
        match &self.written {
            Some(written) => format!("{}, {written}", self.says),
            None => self.says.clone(),
        }
    }
}

impl fmt::Display for ExplainedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Some(written) => write!(f, "{} ({written})", self.says),
            None => f.write_str(&self.says),
        }
    }
}
