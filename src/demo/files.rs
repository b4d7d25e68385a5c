//! The files of a demo: its certificate, made on the spot, and its configuration.

use std::fmt::Write as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::CertifiedKey;

/// What the demo's configuration says.
#[derive(Clone, Debug)]
pub struct WorldPlan {
    /// The proxy's TLS listener.
    pub https: SocketAddr,
    /// The proxy's plain listener.
    pub http: SocketAddr,
    /// The admin endpoint.
    pub admin: SocketAddr,
    /// Each region's name and loopback ports.
    pub regions: Vec<(String, Vec<u16>)>,
}

impl WorldPlan {
    /// The configuration as TOML, with the certificate's two files as given.
    #[must_use]
    pub fn config_text(&self, cert: &Path, key: &Path) -> String {
        let mut text = format!(
            "# The demo: simulated regions on loopback. This file is loaded like any other, and\n\
             # watched: what you change in it takes effect within a second.\n\
             [[listener]]\n\
             address = {https}\n\
             tls = {{ cert = {cert}, key = {key} }}\n\
             trusted_peers = [\"loopback\"]   # so that curl may say which country it is in\n\n\
             [[listener]]\n\
             address = {http}\n\
             trusted_peers = [\"loopback\"]\n\n\
             [admin]\n\
             address = {admin}\n\n\
             [viewer]\n\
             country_headers = [\"CloudFront-Viewer-Country\"]\n\
             unknown = \"any\"                # without a header, this machine is nowhere\n\n\
             [access_log]\n\
             enabled = false\n\n\
             [drain]\n\
             delay = \"0s\"\n\
             timeout = \"1s\"\n\n\
             [probe]\n\
             path = \"/health\"\n\
             interval = \"1s\"\n\
             fast_interval = \"250ms\"\n\
             timeout = \"1s\"\n\
             region_field = \"region\"\n\n\
             # Traffic returns to a healed region within seconds, so that it can be watched; outside\n\
             # a demo a minute and five are kinder to a region that comes back cold.\n\
             [failback]\n\
             hold_down = \"3s\"\n\
             ramp = \"8s\"\n\n",
            https = quoted(&self.https.to_string()),
            http = quoted(&self.http.to_string()),
            admin = quoted(&self.admin.to_string()),
            cert = quoted(&cert.display().to_string()),
            key = quoted(&key.display().to_string()),
        );
        for (name, ports) in &self.regions {
            let origins = ports.iter().map(|port| format!("http://127.0.0.1:{port}"));
            let origins: Vec<_> = origins.map(|origin| quoted(&origin)).collect();
            let origins = origins.join(", ");
            // Writing to a string cannot fail.
            let _ = write!(text, "[region.{name}]\norigins = [{origins}]\n\n");
        }
        let names: Vec<_> = self.regions.iter().map(|(name, _)| quoted(name)).collect();
        let names = names.join(", ");
        let _ = write!(
            text,
            "[[route]]\n\
             name = \"all\"\n\
             path = \"/\"\n\
             regions = [{names}]\n\
             policy = \"latency\"\n"
        );
        self.write_country_lines(&mut text, &names);
        text
    }

    /// Preferences and a residency, where the regions they name take part.
    fn write_country_lines(&self, text: &mut String, names: &str) {
        let has = |wanted: &str| self.regions.iter().any(|(name, _)| name == wanted);
        text.push_str("[route.prefer]\n");
        for (group, region) in [("JP", "ap-southeast-1"), ("\"@eu\"", "eu-west-1")] {
            if has(region) {
                let _ = writeln!(text, "{group} = [\"{region}\"]");
            }
        }
        if has("eu-west-1") {
            let _ = write!(
                text,
                "\n# What lies under /records/ never leaves Europe for a viewer from there, not even while\n\
                 # its only region there is down.\n\
                 [[route]]\n\
                 name = \"records\"\n\
                 path = \"/records/\"\n\
                 regions = [{names}]\n\
                 policy = \"latency\"\n\
                 [route.residency]\n\
                 \"@eu\" = [\"eu-west-1\"]\n"
            );
        }
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A private folder with the demo's certificate and configuration; removed when dropped.
#[derive(Debug)]
pub struct DemoFiles {
    folder: PathBuf,
}

impl DemoFiles {
    /// Makes the folder, the certificate and the configuration.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written to, or no certificate can be made.
    pub fn create(plan: &WorldPlan) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!(
            "meridian-demo-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        ));
        // Not recursive: a folder of that name made by somebody else is refused, not used.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let world = Self { folder };
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(certificate_names(plan.https.ip()))
                .map_err(io::Error::other)?;
        let (cert_path, key_path) = (world.file("demo.pem"), world.file("demo.key"));
        write_private(&cert_path, &cert.pem())?;
        write_private(&key_path, &signing_key.serialize_pem())?;
        write_private(&world.config(), &plan.config_text(&cert_path, &key_path))?;
        Ok(world)
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.file("meridian.toml")
    }

    /// The certificate, for clients that want to verify it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.file("demo.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for DemoFiles {
    fn drop(&mut self) {
        // Nothing can be done about a folder that will not go; it is private and small.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn certificate_names(address: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "demo.localhost", "*.demo.localhost"]
        .map(str::to_owned)
        .into();
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    let own = address.to_string();
    if !address.is_unspecified() && !names.contains(&own) {
        names.push(own);
    }
    names
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn plan() -> WorldPlan {
        WorldPlan {
            https: "127.0.0.1:8443".parse().unwrap(),
            http: "127.0.0.1:8080".parse().unwrap(),
            admin: "127.0.0.1:9901".parse().unwrap(),
            regions: vec![
                ("us-east-1".to_owned(), vec![1001, 1002]),
                ("eu-west-1".to_owned(), vec![1003]),
            ],
        }
    }

    #[test]
    fn the_configuration_is_toml_that_names_every_region() {
        let text = plan().config_text(Path::new("a \"quoted\" name.pem"), Path::new("b.key"));
        let value: toml::Table = text.parse().unwrap();
        let regions = value["region"].as_table().unwrap();
        assert_eq!(
            regions.keys().collect::<Vec<_>>(),
            ["eu-west-1", "us-east-1"]
        );
        let origins = regions["us-east-1"]["origins"].as_array().unwrap();
        assert_eq!(origins[1].as_str(), Some("http://127.0.0.1:1002"));
        let tls = value["listener"][0]["tls"].as_table().unwrap();
        assert_eq!(tls["cert"].as_str(), Some("a \"quoted\" name.pem"));
    }

    #[test]
    fn the_files_are_private_and_go_with_the_demo() {
        let world = DemoFiles::create(&plan()).unwrap();
        let config = world.config();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&config), 0o600);
        assert_eq!(mode(config.parent().unwrap()), 0o700);
        drop(world);
        assert!(!config.exists());
    }
}
