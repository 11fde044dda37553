# NixOS: services.nginx with Nightlight.
#
#   imports = [ ./nightlight.nix ];
#   services.nginx = {
#     enable = true;
#     nightlight = {
#       enable = true;
#       src = /path/to/nightlight;
#       stores.main = { memory = "1g"; retention = "30d"; };
#     };
#     virtualHosts."metrics.example.org" = {
#       onlySSL = true;
#       sslCertificate = ...; sslCertificateKey = ...;
#       extraConfig = ''
#         ssl_client_certificate /etc/nginx/clients-ca.crt;
#         ssl_verify_client on;
#       '';
#       nightlight = { store = "main"; write = true; query = true; };
#     };
#   };
#
# The module is compiled into nginx (services.nginx.additionalModules).
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkEnableOption mkIf mkOption types;

  cfg = config.services.nginx.nightlight;

  # A parameter of nightlight_store, if it was given.
  parameter = name: value:
    lib.optionalString (value != null) " ${name}=${value}";

  storeLine = name: s:
    "nightlight_store ${name} path=${s.path}"
    + parameter "memory" s.memory
    + parameter "head" s.head
    + parameter "retention" s.retention
    + parameter "retention_size" s.retentionSize
    + parameter "min_free" s.minFree
    + parameter "wal_sync" s.walSync
    + parameter "block_format" s.blockFormat
    + parameter "exemplars" s.exemplars
    + parameter "tenants" s.tenants
    + lib.concatStrings (map (t: " tenant_retention=${t}") s.tenantRetention)
    + ";\n"
    + lib.optionalString (s.self != null)
        "nightlight_self ${name} ${s.self};\n";

  optional = description: mkOption {
    type = types.nullOr types.str;
    default = null;
    inherit description;
  };

  store = { name, ... }: {
    options = {
      path = mkOption {
        type = types.str;
        default = "/var/lib/nightlight/${name}";
        description = "Directory of log and blocks.";
      };
      memory = mkOption {
        type = types.str;
        default = "256m";
        description = "Bound of the head: about 1 KB for each active series.";
      };
      head = optional "Directory of the head; /dev/shm unless it is set.";
      retention = mkOption {
        type = types.str;
        default = "15d";
        description = "How long samples stay.";
      };
      retentionSize = optional "Bytes of blocks and logs; then the oldest go.";
      minFree = optional "Bytes of the file system that are left free.";
      exemplars = optional "Memory for exemplars, or off; a 64th of memory unless it is set.";
      tenants = optional "How many tenants there may be; 1000 unless it is set.";
      tenantRetention = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "A shorter retention of tenants: time, or name:time.";
      };
      walSync = optional "always, an interval, or off; 1s unless it is set.";
      blockFormat = optional "portable or dense; portable unless it is set.";
      self = mkOption {
        type = types.nullOr types.str;
        default = "15s";
        description = "How often nginx's own metrics are written; null: never.";
      };
    };
  };

  location = directive: h: extra: {
    extraConfig = extra + "${directive} ${h.store};\n";
  };

  # What a virtual host has of Nightlight.
  hostModule = { config, ... }: {
    options.nightlight = {
      store = optional "Name of the store that this host serves.";
      write = mkEnableOption "remote_write at /api/v1/write";
      query = mkEnableOption "PromQL at /api/v1/";
      status = mkEnableOption "health at /-/";
      metrics = mkEnableOption "own metrics at /metrics";
      admin = mkOption {
        type = types.nullOr types.lines;
        default = null;
        description = ''
          Who may delete and take snapshots, as nginx's directives for
          /api/v1/admin/; null: nobody.
        '';
      };
    };
    config.locations = let h = config.nightlight; in mkIf (h.store != null) (
      lib.optionalAttrs h.write {
        "= /api/v1/write" = location "nightlight_write" h
          "client_max_body_size 32m;\n";
      } // lib.optionalAttrs h.query {
        "/api/v1/" = location "nightlight_query" h "";
      } // lib.optionalAttrs (h.admin != null) {
        "/api/v1/admin/" = location "nightlight_admin" h "${h.admin}\n";
      } // lib.optionalAttrs h.status {
        "/-/" = location "nightlight_status" h "";
      } // lib.optionalAttrs h.metrics {
        "= /metrics" = location "nightlight_metrics" h "";
      });
  };
in
{
  options.services.nginx = {
    nightlight = {
      enable = mkEnableOption "Nightlight, a Prometheus-compatible metrics store inside nginx";
      src = mkOption {
        type = types.path;
        description = "Source tree of Nightlight.";
      };
      stores = mkOption {
        type = types.attrsOf (types.submodule store);
        default = { };
        description = "Stores by name: the directive nightlight_store.";
      };
    };
    virtualHosts = mkOption {
      type = types.attrsOf (types.submodule hostModule);
    };
  };

  config = mkIf cfg.enable {
    assertions = [ {
      assertion = cfg.stores != { };
      message = "services.nginx.nightlight.stores: no store";
    } ];

    services.nginx.additionalModules = [ {
      name = "nightlight";
      inherit (cfg) src;
      inputs = [ pkgs.snappy pkgs.pcre2 pkgs.xxHash ];
      # regular expressions are compiled to machine code
      allowMemoryWriteExecute = true;
    } ];

    services.nginx.appendHttpConfig =
      lib.concatStrings (lib.mapAttrsToList storeLine cfg.stores);

    systemd.services.nginx.serviceConfig = {
      StateDirectory = "nightlight";
      StateDirectoryMode = "0700";
      LimitNOFILE = 65536;
    };
  };
}
